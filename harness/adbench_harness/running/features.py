"""Loads frozen backbones, and runs each once over an image."""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import torch
from torch import Tensor, nn
from torch.nn import functional

from adbench_harness.errors import ContractError, UserError, said
from adbench_harness.results.trial import Weights
from adbench_harness.running import weightfile
from adbench_harness.types import Batch, FeatureRequest

if TYPE_CHECKING:
    from adbench_harness.images.inputs import Images
    from adbench_harness.running.weightfile import State
    from adbench_harness.types import Backbone


def load(
    backbone: Backbone, layers: Sequence[str], weights: Weights, device: torch.device
) -> nn.Module:
    """The backbone up to ``layers``, frozen, in eval mode; float32 [B, 3, H, W] -> dict of grids.

    The file is read as ``weightfile.read`` says. Raises UserError with the names of parameters
    that these layers need and the file lacks or whose numbers are not finite, and for a file of a
    deeper or wider network. Heads and layers beyond ``layers`` are ignored.
    """
    network = backbone.network(tuple(layers))
    if weights.path is not None:
        path = Path(weights.path)
        needed = network.state_dict()
        known, others = weightfile.read(path, needed)
        if not known:
            raise UserError(
                f"weights '{path}' are not {backbone.name}'s: its parameters are called "
                f"'{next(iter(needed))}' and so on, and those in the file "
                f"{weightfile.described(path)}; give its file"
            )
        try:
            outcome = network.load_state_dict(known, strict=False)
        except (RuntimeError, TypeError, AttributeError) as error:
            raise UserError(
                f"weights '{path}' are not {backbone.name}'s: {said(error)}; give its file"
            ) from error
        # Counters of seen batches change nothing in eval mode, and old files lack them.
        missing = [n for n in outcome.missing_keys if not n.endswith("num_batches_tracked")]
        if missing:
            raise UserError(
                f"weights '{path}' lack {len(missing)} of the parameters that "
                f"{backbone.name}'s {', '.join(layers)} need ({_shown(missing)}); give the full "
                "file, or ask for layers that it covers"
            )
        odd = [name for name, tensor in known.items() if not torch.isfinite(tensor).all()]
        if odd:
            raise UserError(
                f"weights '{path}' have numbers that are not finite ({_shown(odd)}); fetch the "
                "file again, or train it again"
            )
        foreign = [] if weights.verified else _foreign(backbone, needed, others)
        if foreign:
            raise UserError(
                f"weights '{path}' are another network's: {backbone.name} has no parameters "
                f"{_shown(foreign)}; give {backbone.name}'s file, or choose another --backbone"
            )
    return network.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload,no-any-return]


def _foreign(backbone: Backbone, needed: State, others: Sequence[str]) -> list[str]:
    """Those of the ``others`` that are in a block of the ``needed`` ones, where no layer has them.

    A block is a module with a number in its name, such as ``layer3`` or ``blocks.5``, so the norm
    or head after the last block is in none. Only ``weight`` is considered: every operation that is
    learned has one, while files may have further buffers.
    """
    others = [name for name in others if name.endswith(".weight")]
    if not _in_blocks(others, needed):
        return []
    whole: State = backbone.network(tuple(backbone.layers)).state_dict()
    return _in_blocks([name for name in others if name not in whole], {**whole, **needed})


def _in_blocks(names: Sequence[str], known: Iterable[str]) -> list[str]:
    """The ``names`` whose innermost module among those of the ``known`` has a number."""
    modules = {module for name in known for module in _modules(name)}
    found = []
    for name in names:
        inner = next((module for module in _modules(name) if module in modules), "")
        if any(character.isdigit() for character in inner):
            found.append(name)
    return found


def _modules(name: str) -> Iterator[str]:
    """The modules that a parameter is in, the innermost first."""
    while name := name.rpartition(".")[0]:
        yield name


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


class FeatureStore:
    """The features of one bundle's images from one backbone, which runs once for all layers.

    Features of unaltered images (``Batch.handles``) come from memory once ``extract`` has computed
    them. Altered images go through a network that ends at the requested layers, and so do all
    images if the features would not fit in a quarter of the free memory. If a batch does not fit in
    memory, its halves are tried; no result depends on that. Grids are float32; with weights of
    precision bfloat16, they are computed and stored in bfloat16.
    """

    def __init__(self, backbone: Backbone, weights: Weights, device: torch.device) -> None:
        self._backbone = backbone
        self._weights = weights
        self._device = device
        self._grids: dict[str, Tensor] = {}
        self._rows: dict[int, int] = {}
        self._most = sys.maxsize
        self._full = False

    def network(self, layers: tuple[str, ...]) -> nn.Module:
        """The frozen network that ends at ``layers``, loaded once per process."""
        return _loaded(_Constructed(self._backbone), layers, self._weights, self._device)

    def extract(self, images: Images, layers: tuple[str, ...], total: int) -> None:
        """Compute and store the features of ``images``; ``total`` images share the memory."""
        if self._full:
            return
        for batch in images.batches(min(self._most, batch_size(self._device, images.size))):
            grids = self._run(batch, layers)
            size = sum(grid[0].numel() * grid.element_size() for grid in grids.values())
            if not self._grids and size * total > _free(self._device) / 4:
                self._full = True
                return
            assert batch.handles is not None
            start = len(self._rows)
            for layer, grid in grids.items():
                kept = self._grids.setdefault(layer, grid.new_empty((total, *grid.shape[1:])))
                kept[start : start + len(batch)] = grid
            self._rows.update({handle: start + i for i, handle in enumerate(batch.handles)})

    def serve(self, request: FeatureRequest) -> ServedFeatures:
        """The layers that one model asked for."""
        return ServedFeatures(request, self)

    def grids(self, batch: Batch, layers: tuple[str, ...]) -> dict[str, Tensor]:
        """The layers' grids for a batch, from memory if they are stored."""
        handles = batch.handles
        if handles is None or set(handles) - self._rows.keys() or set(layers) - self._grids.keys():
            grids = self._run(batch, layers)
        else:
            rows = [self._rows[handle] for handle in handles]
            grids = {layer: self._grids[layer][rows] for layer in layers}
        return {layer: grid.float() for layer, grid in grids.items()}

    def _run(self, batch: Batch, layers: tuple[str, ...]) -> dict[str, Tensor]:
        """The batch's grids, in as many passes as the memory requires."""
        made: list[dict[str, Tensor]] = []
        start = 0
        while start < len(batch):
            images = batch.images[start : start + self._most]
            try:
                made.append(self._pass(images, layers))
                start += len(images)
            except RuntimeError as error:
                if len(images) == 1 or not _OUT_OF_MEMORY.search(str(error)):
                    raise
                self._most = len(images) // 2
        if len(made) == 1:
            return made[0]
        return {layer: torch.cat([grids[layer] for grids in made]) for layer in layers}

    def _pass(self, images: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
        precision = getattr(torch, self._weights.precision)
        with (
            torch.no_grad(),
            torch.autocast(self._device.type, precision, enabled=precision != torch.float32),
        ):
            grids: dict[str, Tensor] = self.network(layers)(
                images.contiguous(memory_format=torch.channels_last)
            )
        return {layer: grids[layer].to(precision).contiguous() for layer in layers}


class _Constructed:
    """A backbone as a cache key: it equals another of its class with the same attributes."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self._key = (type(backbone), repr(sorted(vars(backbone).items())))

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Constructed) and self._key == other._key


@lru_cache(maxsize=8)
def _loaded(
    backbone: _Constructed, layers: tuple[str, ...], weights: Weights, device: torch.device
) -> nn.Module:
    return load(backbone.backbone, layers, weights, device)


@dataclass(frozen=True)
class ServedFeatures:
    """A frozen backbone's layers as one model asked for them; implements ``Features``."""

    request: FeatureRequest
    store: FeatureStore

    def __deepcopy__(self, _: object) -> ServedFeatures:
        return self  # a copy of the model uses the same store, since the backbone is frozen

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        if self.request.input is not None and batch.handles is None:
            images = functional.interpolate(
                batch.images, self.request.input.size, mode="bilinear", antialias=True
            )
            batch = replace(batch, images=images)
        return self.store.grids(batch, self.request.layers)


def trainable(network: nn.Module, request: FeatureRequest) -> nn.Module:
    """A copy of a frozen network that may be trained; ``trainable_request`` returns its request."""
    if not any(True for _ in network.parameters()):
        raise ContractError(
            f"backbone '{request.backbone}' has no parameters to train; choose another --backbone"
        )
    made = copy.deepcopy(network).requires_grad_(True)
    made.adbench_request = request  # type: ignore[assignment]
    return made


def trainable_request(module: nn.Module) -> FeatureRequest | None:
    """The request for which ``trainable`` made ``module``, or made what it is a copy of."""
    found = vars(module).get("adbench_request")
    return found if isinstance(found, FeatureRequest) else None


# Messages of CUDA, the CPU allocator (which raises a plain RuntimeError), cuBLAS and cuDNN.
_OUT_OF_MEMORY = re.compile("out of memory|can't allocate memory|not enough memory|ALLOC_FAILED")


def batch_size(device: torch.device, size: tuple[int, int]) -> int:
    """The number of images of ``size`` px that fills the device; more were not faster."""
    most = 64 if device.type == "cuda" else 16
    return max(1, min(most, most * 256**2 // (size[0] * size[1])))


def _free(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
