"""Takes a fitted component's learned state out as tensors and plain values, and puts it back.

The learned state is what ``fit`` set: the attributes that a fresh component lacks, or that have
another value there. No pickle is involved, so a stored state cannot run code.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adbench_harness.errors import ContractError
from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.results.fitted import Learned
from adbench_harness.running.attributes import PLAIN, attributes, unchanged
from adbench_harness.running.features import ServedFeatures, trainable_request
from adbench_harness.types import Component, FeatureRequest, InputSpec, Model, Scorer, Tools

_NUMERIC = "biuf"
"""Kinds of numpy types that a tensor can hold."""

_Spot = str | list[Any]
"""A tensor's key, with its order of dimensions in memory if that is not the usual one."""


class UnknownStateError(ContractError):
    """An attribute has a value whose learned state cannot be determined."""


def take(fitted: Component, fresh: Component) -> Learned:
    """The state that ``fit`` set on ``fitted``. Raises UnknownStateError.

    ``fresh`` is a component that was constructed with the same parameters.
    """
    taker = _Taker()
    values = taker.attributes(fitted, fresh, "")
    return Learned(values, taker.tensors, taker.numbers)


def put(fresh: Component, learned: Learned, tools: Tools) -> None:
    """Set what was learned on ``fresh``, which then predicts as the fitted component did.

    Raises ContractError if ``rebuild`` did not create what the state belongs to.
    """
    _Putter(learned.tensors, tools).attributes(fresh, learned.values, "")


# ---------------------------------------------------------------- out of a component


class _Taker:
    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.numbers = 0
        self._spots: dict[tuple[Any, ...], _Spot] = {}
        self._storages: set[int] = set()
        self._within: list[int] = []

    def attributes(self, fitted: Any, fresh: Any, prefix: str) -> dict[str, Any]:
        before = {} if fresh is None else attributes(fresh)
        return {
            name: self.encoded(value, before.get(name), f"{prefix}{name}")
            for name, value in attributes(fitted).items()
            if name not in before or not unchanged(value, before[name])
        }

    def encoded(self, value: Any, before: Any, path: str) -> Any:
        """``value`` as JSON, its tensors kept under keys that begin with ``path``."""
        if id(value) in self._within:
            raise UnknownStateError(f"attribute '{path}' contains itself")
        self._within.append(id(value))
        try:
            return self._encoded(value, before, path)
        finally:
            self._within.pop()

    def _encoded(self, value: Any, before: Any, path: str) -> Any:
        if type(value) in PLAIN:
            finite = type(value) is not float or math.isfinite(value)
            return value if finite else {"float": str(value)}
        if isinstance(value, np.generic) and value.dtype.kind in _NUMERIC:
            return {"number": self._encoded(value.item(), None, path), "type": value.dtype.name}
        if isinstance(value, torch.device):
            return {"device": True}
        if isinstance(value, ServedFeatures):
            return {"features": asdict(value.request)}
        if isinstance(value, Tensor):
            return self.tensor(value, path)
        if isinstance(value, np.ndarray) and value.dtype.kind in _NUMERIC:
            return {"array": self.kept(_numeric(value, path), path)}
        if isinstance(value, Neighbours):
            return {"neighbours": self.kept(value.bank, path)}
        if isinstance(value, Component):
            like = before if type(before) is type(value) else None
            return {"component": self.attributes(value, like, f"{path}.")}
        if isinstance(value, nn.Module):
            return self.module(value, path)
        if type(value) in (list, tuple, torch.Size):
            items = self._items(value, before, range(len(value)), path)
            return {"list" if type(value) is list else "tuple": items}
        if type(value) in (dict, OrderedDict):
            keys = [self.encoded(key, None, path) for key in value]
            items = self._items([*value.values()], before, [*value], path)
            return {"dict": [[key, item] for key, item in zip(keys, items, strict=True)]}
        raise _unknown(value, path)

    def _items(
        self, items: Sequence[Any], before: Any, names: Sequence[Any], path: str
    ) -> list[Any]:
        parts = zip(items, _aligned(before, names), names, strict=True)
        return [self.encoded(item, was, f"{path}.{name}") for item, was, name in parts]

    def tensor(self, tensor: Tensor, path: str, counted: bool = True) -> dict[str, Any]:
        spot = self.kept(tensor, path, counted)
        if isinstance(tensor, nn.Parameter):
            return {"parameter": spot, "requires_grad": tensor.requires_grad}
        return {"tensor": spot}

    def module(self, module: nn.Module, path: str) -> dict[str, Any]:
        # Not its state_dict: that of a backbone uses the names of its file of weights.
        kept, training = {}, []
        for name, part in module.named_modules(remove_duplicate=False):
            counted = not isinstance(part, nn.modules.batchnorm._NormBase)
            held = [*part.named_parameters(recurse=False)]
            for short, tensor in [*held, *part.named_buffers(recurse=False)]:
                full = f"{name}.{short}" if name else short
                is_parameter = isinstance(tensor, nn.Parameter)
                kept[full] = self.tensor(tensor, f"{path}.{full}", counted or is_parameter)
            if part.training:
                training.append(name)
        request = trainable_request(module)
        return {"module": kept, "training": training, "trainable": request and asdict(request)}

    def kept(self, tensor: Tensor, path: str, counted: bool = True) -> _Spot:
        """Store ``tensor`` and return its key; a tensor with several names is counted once."""
        if tensor.layout != torch.strided or tensor.is_complex() or tensor.is_quantized:
            raise _unknown(tensor, path)
        tensor = tensor.detach().as_subclass(Tensor)
        view = _storage(tensor), tensor.storage_offset(), tensor.shape, tensor.stride()
        if (*view, tensor.dtype) in self._spots:
            return self._spots[*view, tensor.dtype]
        order = sorted(range(tensor.dim()), key=tensor.stride, reverse=True)
        # A transposed matrix stays transposed: in another order, products would round differently.
        turned = not tensor.is_contiguous() and tensor.permute(order).is_contiguous()
        usual = tensor.permute(order) if turned else tensor.contiguous()
        if _storage(usual) in self._storages:
            usual = usual.clone()
        key = path
        while key in self.tensors:
            key += "'"
        self.tensors[key] = usual
        self._storages.add(_storage(usual))
        self.numbers += counted * tensor.numel()
        self._spots[*view, tensor.dtype] = spot = [key, order] if turned else key
        return spot


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _numeric(array: NDArray[Any], path: str) -> Tensor:
    try:
        return torch.from_numpy(np.array(array, array.dtype.newbyteorder("=")))
    except TypeError:  # a type that torch does not have
        raise _unknown(array, path) from None


def _aligned(before: Any, names: Sequence[Any]) -> list[Any]:
    """The fresh component's value for each item of a list, tuple or dict."""
    if isinstance(before, dict):
        return [before.get(name) for name in names]
    fits = isinstance(before, list | tuple) and len(before) == len(names)
    return list(before) if fits else [None] * len(names)


def _unknown(value: Any, path: str) -> UnknownStateError:
    return UnknownStateError(
        f"attribute '{path}' holds a {type(value).__name__}, whose learned state cannot be "
        "determined; keep tensors, modules, memory banks and plain values"
    )


# ---------------------------------------------------------------- into a component


class _Putter:
    def __init__(self, tensors: Mapping[str, Tensor], tools: Tools) -> None:
        self._tensors = tensors
        self._tools = tools
        self._made: dict[str, Tensor] = {}
        self._parameters: dict[str, nn.Parameter] = {}

    def attributes(self, component: Any, values: Mapping[str, Any], prefix: str) -> None:
        known = {
            name: self.decoded(value, None, f"{prefix}{name}")
            for name, value in values.items()
            if not _is_made_by_rebuild(value)
        }
        if isinstance(component, Model):
            component.rebuild(known, self._tools)
        elif isinstance(component, Scorer):
            component.rebuild(known)
        for name, value in values.items():
            now = getattr(component, name, None)
            setattr(component, name, self.decoded(value, now, f"{prefix}{name}"))

    def decoded(self, value: Any, now: Any, path: str) -> Any:
        """The inverse of ``encoded``; ``now`` is the fresh component's value."""
        match value:
            case {"float": text}:
                return float(text)
            case {"number": number, "type": name}:
                return np.dtype(name).type(self.decoded(number, None, path))
            case {"device": _}:
                return self._tools.device
            case {"features": request}:
                return self._tools.features(_request(request))
            case {"tensor": spot}:
                return self.tensor(spot)
            case {"parameter": spot, "requires_grad": requires_grad}:
                return self.parameter(spot, requires_grad)
            case {"array": spot}:
                return self.tensor(spot).cpu().numpy()
            case {"neighbours": spot}:
                return Neighbours(self.tensor(spot))
            case {"component": inner}:
                self.attributes(_present(now, Component, path), inner, f"{path}.")
                return now
            case {"module": kept, "training": training, "trainable": request}:
                if now is None and request:
                    now = self._tools.trainable(_request(request))
                return self.module(_present(now, nn.Module, path), kept, training, path)
            case {"list": items}:
                return self._items(items, now, range(len(items)), path)
            case {"tuple": items}:
                return tuple(self._items(items, now, range(len(items)), path))
            case {"dict": pairs}:
                names = [self.decoded(key, None, path) for key, _ in pairs]
                items = self._items([item for _, item in pairs], now, names, path)
                return dict(zip(names, items, strict=True))
        return value

    def _items(self, items: Sequence[Any], now: Any, names: Sequence[Any], path: str) -> list[Any]:
        parts = zip(items, _aligned(now, names), names, strict=True)
        return [self.decoded(item, is_now, f"{path}.{name}") for item, is_now, name in parts]

    def tensor(self, spot: _Spot) -> Tensor:
        """A copy on the device; one that has several names is copied once."""
        key, order = (spot, None) if isinstance(spot, str) else spot
        if key not in self._made:
            self._made[key] = self._tensors[key].to(self._tools.device, copy=True)
        made = self._made[key]
        return made if order is None else made.permute([order.index(d) for d in range(len(order))])

    def parameter(self, spot: _Spot, requires_grad: bool) -> nn.Parameter:
        """Like ``tensor``, so that tied weights stay tied."""
        name = repr(spot)
        if name not in self._parameters:
            self._parameters[name] = nn.Parameter(self.tensor(spot), requires_grad)
        return self._parameters[name]

    def module(
        self, module: nn.Module, kept: Mapping[str, Any], training: Sequence[str], path: str
    ) -> nn.Module:
        module.to(self._tools.device)
        parts = dict(module.named_modules(remove_duplicate=False))
        lost = sorted(name for name, _ in module.named_parameters() if name not in kept)
        lost += sorted(name for name in kept if name.rpartition(".")[0] not in parts)
        if lost:
            raise ContractError(
                f"attribute '{path}': the module that rebuild made is not the one that fit made: "
                f"they differ in {', '.join(lost[:3])}"
            )
        for name, value in kept.items():
            place, _, short = name.rpartition(".")
            _fill(parts[place], short, self.decoded(value, None, path))
        for name, part in parts.items():
            part.training = name in training
        return module


def _is_made_by_rebuild(value: Any) -> bool:
    """Whether a stored value is, or contains, what exists only after ``rebuild`` was called."""
    match value:
        case {"module": _} | {"component": _} | {"features": _}:
            return True
        case {"list": items} | {"tuple": items}:
            return any(map(_is_made_by_rebuild, items))
        case {"dict": pairs}:
            return any(_is_made_by_rebuild(item) for _, item in pairs)
    return False


def _fill(module: nn.Module, name: str, value: Tensor) -> None:
    now = getattr(module, name, None)
    if isinstance(now, Tensor) and _form(now) == _form(value):
        now.data.copy_(value)  # in place, since other objects may refer to it
    else:  # a buffer may have grown in fit, such as a memory bank
        setattr(module, name, value)


def _form(tensor: Tensor) -> tuple[Any, ...]:
    return type(tensor), tensor.dtype, tensor.shape, tensor.stride()


def _present(now: Any, kind: type, path: str) -> Any:
    if not isinstance(now, kind):
        what = "module" if kind is nn.Module else "component"
        raise ContractError(
            f"attribute '{path}' is a {what} that fit creates; define rebuild(state, tools), which "
            "creates it again"
        )
    return now


def _request(content: Mapping[str, Any]) -> FeatureRequest:
    spec = content["input"]
    if spec is not None:
        pair = {key: _side(spec[key]) for key in ("resize", "crop")}
        spec = InputSpec(**pair, aspect=spec["aspect"])
    return FeatureRequest(content["backbone"], tuple(content["layers"]), spec)


def _side(side: Any) -> Any:
    return tuple(side) if isinstance(side, list | tuple) else side
