from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

from adbench_harness.cli import main
from adbench_harness.errors import UserError
from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.results.store import Store
from adbench_harness.testing import fitting
from adbench_harness.types import Level, Outputs, PatchBank, PatchEmbeddings
from adbench_patchcore.ensemble import Ensemble, EnsembleNearestNeighbour
from adbench_patchcore.model import PatchCore
from adbench_patchcore.scorers import NearestNeighbour

MEMBERS = ("resnet18/layer2/layer3", "resnet34/layer1")
SIZES = {"resize": 64, "crop": None}


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def outputs(seed, count=3):
    """Two levels of different scale, with the banks that all seeds share."""
    fixed, draw = draws(99), draws(seed)
    banks = [Neighbours(scale * torch.randn(9, 4, generator=fixed)) for scale in (1, 20)]
    grids = [scale * torch.randn(count, 4, 6, 4, generator=draw) for scale in (1, 20)]
    return Outputs((8, 12), PatchEmbeddings(tuple(map(Level, grids))), PatchBank(tuple(banks)))


def by_hand(out, sigma):
    """Image scores and maps of each level, in float64."""
    found = []
    for level, bank in zip(out[PatchEmbeddings].levels, out[PatchBank].levels, strict=True):
        count, height, width, depth = level.values.shape
        distances = cdist(level.values.reshape(-1, depth), bank.bank).min(1)
        grid = torch.tensor(distances.reshape(count, 1, height, width))
        maps = torch.nn.functional.interpolate(grid, out.input_size, mode="bilinear")[:, 0]
        smooth = np.stack([gaussian_filter(m, sigma) for m in maps.numpy()])
        found.append((distances.reshape(count, -1).max(1), smooth))
    return found


def scaled(values, reference):
    return (values - reference.min()) / (reference.max() - reference.min())


@pytest.mark.parametrize(("extremes", "reference"), [("train", 1), ("validation", 2), ("test", 3)])
def test_scores_are_scaled_by_the_named_images(extremes, reference):
    test = outputs(3)
    scorer = EnsembleNearestNeighbour(extremes="test" if extremes == "test" else "train", sigma=1)
    held_out = [outputs(2)] if extremes == "validation" else []
    scorer.fit(fitting.Walked([outputs(1)], held_out), draws())
    if scorer.transductive:
        # In several batches, of which none has all extremes.
        scorer.adapt(part(test, slice(i, i + 1)) for i in range(3))
    found = scorer.score(test)
    pairs = list(zip(by_hand(test, 1), by_hand(outputs(reference), 1), strict=True))
    image = np.mean([scaled(ours[0], theirs[0]) for ours, theirs in pairs], 0)
    maps = np.mean([scaled(ours[1], theirs[1]) for ours, theirs in pairs], 0)
    np.testing.assert_allclose(found.image, image, rtol=1e-4)
    np.testing.assert_allclose(found.map, maps, atol=1e-5)
    if extremes == "test":
        assert 0 <= found.map.min() < found.map.max() <= 1


def part(out, chosen):
    grids = tuple(Level(level.values[chosen]) for level in out[PatchEmbeddings].levels)
    return Outputs(out.input_size, PatchEmbeddings(grids), out[PatchBank])


def test_only_the_variant_of_the_test_set_is_transductive():
    assert not EnsembleNearestNeighbour().transductive
    assert EnsembleNearestNeighbour(extremes="test").transductive


def test_images_that_set_no_scale_are_refused():
    bank = Neighbours(torch.eye(4))
    zero = Outputs(
        (2, 2), PatchEmbeddings((Level(torch.eye(4).view(1, 2, 2, 4)),)), PatchBank((bank,))
    )
    with pytest.raises(UserError, match=r"coreset_ratio.*--validation"):
        EnsembleNearestNeighbour().fit(fitting.Walked([zero]), draws())


def test_members_are_levels():
    train, batch = fitting.train(fitting.textures(4, 64)), fitting.batch(fitting.textures(2, 64))
    ensemble = Ensemble(members=MEMBERS, coreset_ratio=0.5, **SIZES)
    tools = fitting.tools(None, 64)
    found = ensemble.fit(train, tools).predict(batch)
    assert [r.backbone for r in ensemble.feature_requests] == ["resnet18", "resnet34"]
    generator = draws()
    for place, layers in enumerate((("layer2", "layer3"), ("layer1",))):
        alone = PatchCore(layers=layers, coreset_ratio=0.5, **SIZES)
        made = fitting.tools(None, 64)
        made.generator.set_state(generator.get_state())
        expected = alone.fit(train, made).predict(batch)
        generator = made.generator
        for port in (PatchEmbeddings, PatchBank):
            one, other = found[port].levels[place], expected[port].levels[0]
            one, other = (getattr(v, "values", getattr(v, "bank", None)) for v in (one, other))
            assert torch.equal(one, other)
    assert ensemble.chosen() == {"embedding": "means + means", "dimension": "112 + 32"}


def test_a_members_pooled_embedding_has_the_joint_dimension():
    """The authors average each layer to 1,024 values and both together to 384."""
    model = PatchCore(embedding="pooled", dimension=30, joint_dimension=12, **SIZES)
    model.extract = fitting.tools(None, 64).features(model.feature_requests[0])
    model.join = None
    batch = fitting.batch(fitting.textures(2, 64))
    found = model.embed(batch)
    wide = PatchCore(embedding="pooled", dimension=30, joint_dimension=60, **SIZES)
    wide.extract, wide.join = model.extract, None
    both = wide.embed(batch)
    assert found.shape == (2, 8, 8, 12)
    torch.testing.assert_close(found, both.unflatten(-1, (12, 5)).mean(-1))
    assert Ensemble().members[0].joint_dimension == 384


def test_a_member_without_layers_is_refused():
    with pytest.raises(ValueError, match="'resnet18' names no layer"):
        Ensemble(members=("resnet18",))


def test_an_ensemble_of_one_ranks_as_its_member():
    model = Ensemble(members=MEMBERS[:1], coreset_ratio=0.1, **SIZES)
    train = fitting.train(fitting.textures(6, 64))
    model.fit(train, fitting.tools(None, 64))
    test = model.predict(fitting.batch(fitting.textures(5, 64, 3, blob=True)))
    scorer = EnsembleNearestNeighbour()
    scorer.fit(fitting.Walked([model.predict(b) for b in train.batches()]), draws())
    one, other = scorer.score(test), NearestNeighbour().score(test)
    assert torch.equal(one.image.argsort(), other.image.argsort())
    assert np.corrcoef(one.map.flatten(), other.map.flatten())[0, 1] > 0.9999


def test_both_variants_run_from_one_command_and_one_is_marked(tmp_path: Path, capsys):
    words = [
        *("run", "--plugins", "patchcore", "--datasets", "mini/grass", "--preprocessors", "none"),
        *("--models", "patchcore-ensemble", "--scorers", "nn-ensemble", "--engine", "inline"),
        *("--set", "patchcore-ensemble.members=[embedded/layer2/layer3,embedded/layer1]"),
        *("--set", "patchcore-ensemble.resize=72", "--set", "patchcore-ensemble.crop=64"),
        *("--set", "nn-ensemble.extremes=[train,test]", "--out", str(tmp_path)),
    ]
    assert main(words) == 0, capsys.readouterr().err
    found = {
        result.trial.scorer.params["extremes"]: result.flags for result in Store(tmp_path).read()
    }
    assert "transductive" in found["test"]
    assert "transductive" not in found["train"]
