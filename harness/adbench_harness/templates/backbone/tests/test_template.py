import adbench_template
import pytest
import torch
from adbench_harness.testing import parametrize_with_checks
from adbench_template import STRIDES, Template

pytest_plugins = ["adbench_harness.fixtures"]


@parametrize_with_checks([Template])
def test_conformance(component, check):
    check(component)


@pytest.mark.parametrize(("layer", "stride"), STRIDES.items())
def test_grids_have_their_stride(layer, stride, batch, side):
    grid = Template().network((layer,))(batch.images)[layer]
    assert grid.shape[2:] == (side // stride, side // stride)
    assert torch.isfinite(grid).all()


def test_a_model_runs_on_it(run):
    plugins = ["patchcore", adbench_template.__file__]
    results = run(plugins=plugins, datasets="mini/brick", scorers="nn", backbone="template")
    assert results["backbone"].tolist() == ["template"]
    assert results["pixel_auroc"].item() > 0.5
