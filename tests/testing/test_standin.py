from __future__ import annotations

import pytest
import torch

from adbench_harness.testing import fitting
from adbench_harness.types import (
    FeatureRequest,
)


@pytest.mark.parametrize("layer", ["layer1", "features.8", "blocks.11", "norm", "cls", "avgpool"])
def test_one_network_stands_in_for_every_backbone(layer):
    request = FeatureRequest("whatever", (layer,))
    tools = fitting.tools(None, 64)
    batch = fitting.batch(fitting.textures(2, (64, 96)))
    frozen, trained = tools.features(request)(batch), tools.trainable(request)
    assert set(frozen) == {layer}
    copied = trained(batch.images)
    assert torch.equal(copied[layer], frozen[layer])
    assert any(parameter.requires_grad for parameter in trained.parameters())
    copied[layer].sum().backward()
    assert all(parameter.grad is not None for parameter in trained.parameters())
    with torch.no_grad():
        next(trained.parameters()).zero_()
    assert torch.equal(tools.features(request)(batch)[layer], frozen[layer]), "a copy of its own"


def test_a_layer_of_the_stand_in_is_the_same_whoever_else_is_asked():
    tools = fitting.tools(None, 64)
    batch = fitting.batch(fitting.textures(2, 64))
    grids = [
        tools.features(FeatureRequest("any", layers))(batch)["layer2"]
        for layers in (("layer2",), ("layer1", "layer2"), ("layer2", "layer4"))
    ]
    assert torch.equal(grids[0], grids[1])
    assert torch.equal(grids[0], grids[2])
    assert grids[0].shape == (2, 48, 8, 8)
