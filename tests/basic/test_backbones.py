from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from adbench_harness.basic.backbones import BACKBONES
from adbench_harness.downloads import weights
from adbench_harness.errors import UserError
from adbench_harness.running import features
from weightfiles import written

CPU = torch.device("cpu")


RESNET18, DENSENET201 = (
    next(backbone for backbone in BACKBONES if backbone.name == name)()
    for name in ("resnet18", "densenet201")
)


@pytest.mark.parametrize("name", ["resnet18-f37072fd.pth", "resnet18-mine.safetensors"])
def test_a_real_network_in_part_and_whole(tmp_path: Path, name: str) -> None:
    from torchvision.models import resnet18

    torch.manual_seed(0)
    whole = resnet18().eval()
    early = ("conv1.", "bn1.", "layer1.")
    part = {k: v for k, v in whole.state_dict().items() if k.startswith(early)}
    path = written(tmp_path / name, part)
    found = weights.find(RESNET18, str(path))
    assert found is not None
    assert not found.verified
    network = features.load(RESNET18, ("layer1",), found, CPU)
    image = torch.rand(1, 3, 32, 32)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (image - mean[:, None, None]) / std[:, None, None]
    with torch.no_grad():
        expected = whole.layer1(whole.maxpool(whole.relu(whole.bn1(whole.conv1(x)))))
        assert torch.allclose(network(image)["layer1"], expected, atol=1e-5)
    with pytest.raises(UserError, match=r"lack \d+ of the parameters that resnet18's layer2 need"):
        features.load(RESNET18, ("layer2",), found, CPU)


def test_a_densenets_file_has_older_names_than_the_network(tmp_path: Path) -> None:
    """torchvision's own file says norm.1 where its network says norm1."""
    torch.manual_seed(0)
    layers = ("features.denseblock1",)
    network = DENSENET201.network(layers)
    state = network.state_dict()
    old = {re.sub(r"(norm|conv)([12])\.(?=\w+$)", r"\1.\2.", k): v for k, v in state.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    for names in (old, state):
        found = weights.find(DENSENET201, str(written(tmp_path / "densenet201-old.pth", names)))
        assert found is not None
        loaded = features.load(DENSENET201, layers, found, CPU)
        image = torch.rand(1, 3, 32, 32)
        with torch.no_grad():
            one, other = (n(image)[layers[0]] for n in (loaded, network.eval()))
        assert one.shape == (1, 256, 8, 8)
        torch.testing.assert_close(one, other)
