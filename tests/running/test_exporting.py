from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adbench_harness.errors import UserError
from adbench_harness.images.geometry import to_input
from adbench_harness.running import exporting
from adbench_harness.running.bundle import fit_bundle, load
from adbench_harness.running.predicting import Predictor
from adbench_harness.types import InputSpec

SIDE = st.integers(5, 90)
SPECS = st.one_of(
    st.builds(InputSpec, SIDE, st.none(), st.just("squash")),
    st.builds(InputSpec, st.tuples(SIDE, SIDE), st.none(), st.just("squash")),
    st.builds(InputSpec, st.integers(30, 60), st.integers(10, 30), st.just("keep")),
)


@settings(max_examples=60, deadline=None)
@given(SPECS, st.tuples(SIDE, SIDE), st.integers(0, 2**32 - 1))
def test_images_are_prepared_as_a_run_does(spec, size, seed):
    image = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = to_input(image, spec).float() / 255
    prepare = exporting.Prepare(spec, size)
    found = prepare(torch.from_numpy(image).permute(2, 0, 1)[None])
    assert found.shape == (1, *expected.shape)
    # Without the instructions that torch's fast resizing needs, it rounds in another order.
    assert (found[0] - expected).abs().max() <= 1.01 / 255
    assert ((found[0] - expected).abs() > 1e-6).float().mean() < 0.01


@pytest.fixture
def predictor(planned):
    def make(**asked):
        (bundle,) = planned(**asked)
        device = torch.device("cpu")
        return Predictor(bundle.trials[0], fit_bundle(bundle), load(bundle.plugins), device)

    return make


def test_a_file_gives_the_scores_of_the_row(predictor, tmp_path):
    found = predictor()
    path = tmp_path / "row.pt2"
    exporting.write(found, (40, 48), None, path)
    run = exporting.load(path)
    image = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    outputs = run(np.ascontiguousarray(image.transpose(2, 0, 1)[None]))
    scores = found.scored(to_input(image, found.input)[None].float() / 255)
    np.testing.assert_allclose(outputs["map"], scores.map, rtol=1e-5)
    np.testing.assert_allclose(outputs["score"], scores.image, rtol=1e-5)
    assert set(outputs) == {"score", "map"}


@pytest.mark.parametrize(("step", "anomalous"), [(-1e-3, True), (1e-3, False)])
def test_a_file_with_a_threshold_tells_whether_the_image_is_anomalous(
    predictor, tmp_path, step, anomalous
):
    found = predictor()
    image = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    score = float(found.scored(to_input(image, found.input)[None].float() / 255).image)
    exporting.write(found, (40, 48), score + step, tmp_path / "row.pt2")
    outputs = exporting.load(tmp_path / "row.pt2")(image.transpose(2, 0, 1)[None].copy())
    assert outputs["anomalous"].tolist() == [anomalous]


def test_a_preprocessor_is_no_graph(predictor, tmp_path):
    with pytest.raises(UserError, match="preprocessor toy-dim is no graph of torch operations"):
        exporting.write(predictor(preprocessors="toy-dim"), (40, 48), None, tmp_path / "row.pt2")
