"""timm's networks: their stages or blocks as grids [B, C, h, w], for any input size.

A name is timm's own, including the tag, so that it identifies the weights.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from adbench_harness.types import Backbone, WeightFile

_DINO: Final = "Caron et al., Emerging properties in self-supervised vision transformers, ICCV 2021"
_DINOV2: Final = "Oquab et al., DINOv2: learning robust visual features without supervision, 2023"
_REGISTERS: Final = "Darcet et al., Vision transformers need registers, ICLR 2024"
_VIT: Final = "Dosovitskiy et al., An image is worth 16x16 words, ICLR 2021"
_CLIP: Final = "Radford et al., Learning transferable visual models, ICML 2021"
_CONVNEXT: Final = "Liu et al., A ConvNet for the 2020s, CVPR 2022"
_RESNET: Final = "Wightman et al., ResNet strikes back, 2021"
_EFFICIENT: Final = "Tan, Le: EfficientNet, ICML 2019"

_STAGES: Final = tuple(f"stages.{stage}" for stage in range(4))
_LAYERS: Final = ("layer1", "layer2", "layer3", "layer4")
_MBCONV: Final = ("blocks.0", "blocks.1", "blocks.2", "blocks.4", "blocks.6")


def _blocks(count: int) -> tuple[str, ...]:
    """A transformer's blocks, its normalised patch tokens, and its normalised class token."""
    return (*(f"blocks.{block}" for block in range(count)), "norm", "cls")


class TimmNet(nn.Module):
    """A timm network up to the requested layers, with input normalisation; timm's parameter names.

    A vision transformer's input must be a multiple of the patch size: images are resized to the
    nearest multiple, so that the grid covers all of them, and position embeddings are interpolated.
    """

    def __init__(self, name: str, layers: tuple[str, ...]) -> None:
        super().__init__()
        import timm

        sized = {"dynamic_img_size": True} if name.startswith("vit_") else {}
        self.network: Any = timm.create_model(name, pretrained=False, **sized)
        self.layers = layers
        self.prefixes = getattr(self.network, "num_prefix_tokens", 0)
        self.patch = self.network.patch_embed.patch_size[0] if self.prefixes else 1
        modules = [stage["module"] for stage in self.network.feature_info]
        self.last = len(modules) - 1
        ends = ("norm", "cls")
        self.places = {n: self.last if n in ends else modules.index(n) for n in layers}
        self.network.prune_intermediate_layers(
            [max(self.places.values())], prune_norm=not set(ends) & set(layers), prune_head=True
        )
        mean, std = (self.network.pretrained_cfg[key] for key in ("mean", "std"))
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        height, width = (
            max(1, round(side / self.patch)) * self.patch for side in images.shape[-2:]
        )
        if (height, width) != images.shape[-2:]:
            images = functional.interpolate(
                images, (height, width), mode="bilinear", antialias=True
            )
        indices = sorted(set(self.places.values()))
        prefixed = {"return_prefix_tokens": True} if self.prefixes else {}
        found = self.network.forward_intermediates(
            (images - self.mean) / self.std,
            indices=indices,
            intermediates_only=True,
            stop_early=True,
            **prefixed,
        )
        grids = dict(zip(indices, found, strict=True))
        return {name: self._layer(name, grids[self.places[name]]) for name in self.layers}

    def _layer(self, name: str, found: Any) -> Tensor:
        """A grid without class and register tokens, or the class token [B, C]."""
        grid: Any
        prefix: Any
        grid, prefix = found if self.prefixes else (found, None)
        if name == "cls":
            grid = self.network.norm(prefix[:, 0])
        elif name == "norm":
            grid = self.network.norm(grid.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return grid  # type: ignore[no-any-return]

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.network.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.network.load_state_dict(*args, **kwargs)


class _Timm(Backbone):
    """One network of timm; ``weights`` is its file on timm's hub, which states no sha256."""

    name: ClassVar[str]
    summary: ClassVar[str]
    paper: ClassVar[str | None]
    version: ClassVar[int] = 1
    layers: ClassVar[tuple[str, ...]]
    weights: ClassVar[WeightFile | None]

    def network(self, layers: tuple[str, ...]) -> nn.Module:
        """The part of the network that ``layers`` need."""
        return TimmNet(self.name, layers)


def _timm(
    name: str, layers: tuple[str, ...], title: str, paper: str, terms: str = "Apache-2.0"
) -> type[_Timm]:
    weights = WeightFile(
        url=f"https://huggingface.co/timm/{name}/resolve/main/model.safetensors",
        filename=f"{name}.safetensors",
        sha256=None,
        license=terms,
    )
    members = {
        "name": name,
        "summary": f"{title} (timm)",
        "paper": paper,
        "layers": layers,
        "weights": weights,
        "__doc__": f"{title}.",
    }
    return type(name.title().replace("_", "").replace(".", ""), (_Timm,), members)


def _vit(name: str, size: str, training: str, paper: str, terms: str = "Apache-2.0") -> type[_Timm]:
    blocks = 24 if size == "large" else 12
    return _timm(name, _blocks(blocks), f"ViT-{size[0].upper()}, {training}", paper, terms)


BACKBONES: Final = (
    *(
        _vit(f"vit_{size}_patch14_{kind}dinov2.lvd142m", size, training, paper)
        for kind, training, paper in (
            ("", "DINOv2 on LVD-142M", _DINOV2),
            ("reg4_", "DINOv2 with registers on LVD-142M", _REGISTERS),
        )
        for size in ("small", "base", "large")
    ),
    _vit("vit_small_patch16_224.dino", "small", "DINO on ImageNet-1k", _DINO),
    _vit("vit_base_patch16_224.dino", "base", "DINO on ImageNet-1k", _DINO),
    _vit("vit_base_patch8_224.dino", "base", "DINO on ImageNet-1k, 8 px patches", _DINO),
    _vit("vit_base_patch16_224.augreg_in21k", "base", "supervised on ImageNet-21k", _VIT),
    _vit("vit_base_patch16_clip_224.openai", "base", "CLIP on OpenAI's images", _CLIP, "MIT"),
    _timm("convnext_tiny.fb_in22k", _STAGES, "ConvNeXt-T, ImageNet-22k", _CONVNEXT),
    _timm("convnext_base.fb_in22k", _STAGES, "ConvNeXt-B, ImageNet-22k", _CONVNEXT),
    _timm("resnet18.a1_in1k", _LAYERS, "ResNet-18, recipe A1 on ImageNet-1k", _RESNET),
    _timm("resnet50.a1_in1k", _LAYERS, "ResNet-50, recipe A1 on ImageNet-1k", _RESNET),
    _timm("wide_resnet50_2.racm_in1k", _LAYERS, "Wide ResNet-50-2, ImageNet-1k", _RESNET),
    _timm("efficientnet_b4.ra2_in1k", _MBCONV, "EfficientNet-B4, ImageNet-1k", _EFFICIENT),
)
