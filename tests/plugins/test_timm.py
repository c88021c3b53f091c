"""Needs the extra ``timm``; never the network: weights are random, saved to a file here."""

from __future__ import annotations

import pytest
import torch

timm = pytest.importorskip("timm", reason="the extra 'timm' is not installed")

from safetensors.torch import load_file, save_file

from adbench_harness.cli import main
from adbench_harness.downloads import weights
from adbench_harness.errors import UserError
from adbench_harness.planning import plugins
from adbench_harness.results.store import Store
from adbench_harness.running import features
from adbench_harness.testing import parametrize_with_checks
from adbench_timm.backbones import BACKBONES, TimmNet

BY_NAME = {backbone.name: backbone for backbone in BACKBONES}
LARGE = [backbone.name for backbone in BACKBONES if "large" in backbone.name]
DINOV2 = "vit_small_patch14_dinov2.lvd142m"
REGISTERS = "vit_small_patch14_reg4_dinov2.lvd142m"
CPU = torch.device("cpu")


@parametrize_with_checks([b for name, b in BY_NAME.items() if name not in LARGE])
def test_conformance(component, check):
    check(component)


@pytest.mark.parametrize("name", BY_NAME)
def test_layers_are_those_of_timm(name):
    """Every stage that timm counts as one is there under timm's own name; nothing is computed."""
    with torch.device("meta"):
        network = timm.create_model(name, pretrained=False)
    modules = [stage["module"] for stage in network.feature_info]
    ours = [layer for layer in BY_NAME[name].layers if layer not in ("norm", "cls")]
    assert ours == [module for module in modules if module != "act1"]
    assert timm.is_model_pretrained(name)


def saved(folder, name, drop=()):
    """timm's whole network with random weights, and the file that holds them."""
    torch.manual_seed(0)
    network = timm.create_model(name, pretrained=False).eval()
    state = {key: value for key, value in network.state_dict().items() if key not in drop}
    save_file(state, folder / f"{name}.safetensors")
    return network


@pytest.mark.parametrize("name", [DINOV2, REGISTERS])
def test_token_grids_are_the_patches_in_their_places(name, tmp_path):
    """Against timm's own forward pass at the size it was made for: 518 px, nothing resized."""
    network = saved(tmp_path, name)
    backbone = BY_NAME[name]()
    found = weights.find(backbone, str(tmp_path))
    assert not found.verified, "timm's hub states no sha256 that a file could be held against"
    net = features.load(backbone, ("blocks.3", "blocks.11", "norm", "cls"), found, CPU)
    images = torch.rand(1, 3, 518, 518, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normal = (images - mean[:, None, None]) / std[:, None, None]
    with torch.no_grad():
        grids = net(images)
        tokens = network.forward_features(normal)
        early = network.get_intermediate_layers(normal, n=[3])[0]
    prefix = 5 if "reg4" in name else 1
    assert grids["norm"].shape == (1, 384, 37, 37)
    expected = tokens[:, prefix:].reshape(1, 37, 37, 384).permute(0, 3, 1, 2)
    torch.testing.assert_close(grids["norm"], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(grids["cls"], tokens[:, 0], rtol=1e-4, atol=1e-4)
    expected = early.reshape(1, 37, 37, 384).permute(0, 3, 1, 2)
    torch.testing.assert_close(grids["blocks.3"], expected, rtol=1e-4, atol=1e-4)


def test_an_input_that_patches_do_not_tile_is_resized_so_that_they_do():
    net = TimmNet(DINOV2, ("blocks.0",)).eval()
    with torch.no_grad():
        assert net(torch.rand(1, 3, 224, 224))["blocks.0"].shape == (1, 384, 16, 16)
        assert net(torch.rand(1, 3, 256, 200))["blocks.0"].shape == (1, 384, 18, 14)
        assert net(torch.rand(1, 3, 9, 9))["blocks.0"].shape == (1, 384, 1, 1)


def test_a_stage_is_that_of_timms_own_feature_extractor(tmp_path):
    name = "resnet18.a1_in1k"
    saved(tmp_path, name)
    found = weights.find(BY_NAME[name](), str(tmp_path))
    net = features.load(BY_NAME[name](), ("layer2", "layer3"), found, CPU)
    reference = timm.create_model(name, pretrained=False, features_only=True, out_indices=(2, 3))
    state = load_file(tmp_path / f"{name}.safetensors")
    assert not reference.load_state_dict(state, strict=False).missing_keys
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        second, third = reference.eval()((images - net.mean) / net.std)
        grids = net(images)
    torch.testing.assert_close(grids["layer2"], second, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(grids["layer3"], third, rtol=1e-4, atol=1e-5)


def test_only_what_the_layers_need_is_held_and_asked_of_the_file(tmp_path):
    shallow, deep = TimmNet(DINOV2, ("blocks.1",)), TimmNet(DINOV2, ("norm",))
    count = [sum(p.numel() for p in net.parameters()) for net in (shallow, deep)]
    assert count[0] < count[1] / 2
    assert not any(key.startswith(("blocks.2", "norm", "head")) for key in shallow.state_dict())
    saved(tmp_path, DINOV2, drop=("norm.weight", "norm.bias"))
    backbone = BY_NAME[DINOV2]()
    found = weights.find(backbone, str(tmp_path))
    features.load(backbone, ("blocks.11",), found, CPU)
    with pytest.raises(UserError, match="lack 2 of the parameters"):
        features.load(backbone, ("norm",), found, CPU)


def test_a_method_runs_on_dinov2_and_its_row_says_that_nothing_vouches_for_the_file(tmp_path):
    saved(tmp_path, DINOV2)
    code = main(
        [
            *("run", "--plugins", "padim,timm", "--datasets", "mini/brick", "--device", "cpu"),
            *("--backbone", DINOV2, "--weights", str(tmp_path), "--out", str(tmp_path / "out")),
            *("--models", "padim:layers=[blocks.2]:dimensions=8:resize=70:crop=none"),
        ]
    )
    assert code == 0
    (result,) = Store(tmp_path / "out").read()
    assert result.status == "ok"
    assert f"unverified weights {DINOV2}" in result.flags
    assert result.trial.weights[0].sha256


def test_the_plugin_brings_them_all():
    assert set(BY_NAME) == {b.name for b in plugins.load(["timm"]).brought("backbone", ["timm"])}
    assert {f"vit_{size}_patch14_dinov2.lvd142m" for size in ("small", "base", "large")} <= set(
        BY_NAME
    )
