"""What a fitted component has learned: taken out as tensors and plain values, and put back.

Learned is what ``fit`` set: the attributes of the fitted component that a fresh one lacks or has
otherwise. No pickle is involved, so a stored state cannot run code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adbench_harness.errors import ContractError
from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.running.features import ServedFeatures, trainable_request
from adbench_harness.types import Component, FeatureRequest, InputSpec, Model, Scorer, Tools

_CODE = (type, FunctionType, BuiltinFunctionType, MethodType)
_PLAIN = (str, int, float, bool, type(None))


class UnknownStateError(ContractError):
    """An attribute holds something whose learned state cannot be told."""


@dataclass(frozen=True)
class Learned:
    """A component's learned state.

    ``values`` is JSON: an entry for each attribute, in which a tensor is named by its key in
    ``tensors``. ``numbers`` counts the elements of tensors and parameters; running statistics of
    batch normalisation are stored, but not counted, as is usual.
    """

    values: Mapping[str, Any]
    tensors: Mapping[str, Tensor] = field(repr=False)
    numbers: int


def take(fitted: Component, fresh: Component) -> Learned:
    """What ``fit`` set on ``fitted``; ``fresh`` was constructed alike. Raises UnknownStateError."""
    taker = _Taker()
    values = taker.attributes(fitted, fresh, "")
    return Learned(values, taker.tensors, taker.numbers)


def put(fresh: Component, learned: Learned, tools: Tools) -> None:
    """Set what was learned on ``fresh``, which then predicts as the fitted component did."""
    _put(fresh, learned.values, learned.tensors, tools)


class _Taker:
    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.numbers = 0
        self._counted: list[Tensor] = []

    def attributes(self, fitted: Any, fresh: Any, prefix: str) -> dict[str, Any]:
        before, found = _attributes(fresh), {}
        for name, value in _attributes(fitted).items():
            if name not in before or not _unchanged(value, before[name]):
                found[name] = self.encoded(value, before.get(name), f"{prefix}{name}")
        return found

    def encoded(self, value: Any, before: Any, path: str) -> Any:
        """``value`` as JSON, its tensors kept under keys that begin with ``path``."""
        if isinstance(value, _PLAIN):
            return value
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, torch.device):
            return {"device": True}
        if isinstance(value, ServedFeatures):
            return {"features": _request_to_json(value.request)}
        if isinstance(value, nn.Parameter):
            return {"parameter": self.kept(path, value)}
        if isinstance(value, Tensor):
            return {"tensor": self.kept(path, value)}
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            return {"array": self.kept(path, torch.from_numpy(value))}
        if isinstance(value, Neighbours):
            return {"neighbours": self.kept(path, value.bank)}
        if isinstance(value, Model | Scorer) and isinstance(before, type(value)):
            return {"component": self.attributes(value, before, f"{path}.")}
        if isinstance(value, nn.Module):
            return self.module(value, path)
        if isinstance(value, list | tuple):
            items = [self.encoded(v, None, f"{path}.{i}") for i, v in enumerate(value)]
            return {"tuple" if isinstance(value, tuple) else "list": items}
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {"dict": {k: self.encoded(v, None, f"{path}.{k}") for k, v in value.items()}}
        raise UnknownStateError(
            f"attribute '{path}' holds a {type(value).__name__}, whose learned state cannot be "
            "told; keep tensors, modules, memory banks and plain values"
        )

    def module(self, module: nn.Module, path: str) -> dict[str, Any]:
        # Not its state_dict: a backbone's is in the names of its file of weights.
        kept = {name: f"{path}.{name}" for name, _ in _named_tensors(module)}
        self.tensors |= {kept[name]: tensor.detach() for name, tensor in _named_tensors(module)}
        self._count(*module.parameters())
        for part in module.modules():
            if not isinstance(part, nn.modules.batchnorm._NormBase):
                self._count(*part.buffers(recurse=False))
        request = trainable_request(module)
        return {
            "module": kept,
            "training": [name for name, part in module.named_modules() if part.training],
            "trainable": request and _request_to_json(request),
        }

    def kept(self, key: str, tensor: Tensor) -> str:
        self.tensors[key] = tensor.detach()
        self._count(tensor)
        return key

    def _count(self, *tensors: Tensor) -> None:
        """Add the elements of each tensor, one that has several names once."""
        for tensor in tensors:
            if not any(tensor is other for other in self._counted):
                self._counted.append(tensor)
                self.numbers += tensor.numel()


def _put(
    component: Any, values: Mapping[str, Any], tensors: Mapping[str, Tensor], to: Tools
) -> None:
    plain = {
        name: _decoded(value, None, tensors, to)
        for name, value in values.items()
        if not isinstance(value, dict) or not value.keys() & {"module", "component", "features"}
    }
    if isinstance(component, Model):
        component.rebuild(plain, to)
    elif isinstance(component, Scorer):
        component.rebuild(plain)
    for name, value in values.items():
        setattr(component, name, _decoded(value, getattr(component, name, None), tensors, to))


def _decoded(value: Any, now: Any, tensors: Mapping[str, Tensor], to: Tools) -> Any:
    """The inverse of ``encoded``; ``now`` is what the fresh component has in that place."""
    if not isinstance(value, dict):
        return value
    match value:
        case {"device": _}:
            return to.device
        case {"features": request}:
            return to.features(_request_of_json(request))
        case {"parameter": key}:
            return nn.Parameter(tensors[key].to(to.device))
        case {"tensor": key}:
            return tensors[key].to(to.device)
        case {"array": key}:
            return tensors[key].cpu().numpy()
        case {"neighbours": key}:
            return Neighbours(tensors[key].to(to.device))
        case {"component": inner}:
            _put(now, inner, tensors, to)
            return now
        case {"module": kept}:
            if now is None and value["trainable"]:
                now = to.trainable(_request_of_json(value["trainable"]))
            return _filled(now, kept, value["training"], tensors, to.device)
        case {"list": items}:
            return [_decoded(item, None, tensors, to) for item in items]
        case {"tuple": items}:
            return tuple(_decoded(item, None, tensors, to) for item in items)
    return {key: _decoded(item, None, tensors, to) for key, item in value["dict"].items()}


def _filled(
    module: Any,
    kept: Mapping[str, str],
    training: list[str],
    tensors: Mapping[str, Tensor],
    device: torch.device,
) -> nn.Module:
    if not isinstance(module, nn.Module):
        first = next(iter(kept.values()), "a module")
        raise ContractError(
            f"'{first}' belongs to a module that fit creates; define rebuild(state, tools), which "
            "creates it again"
        )
    module.to(device)
    for name, key in kept.items():
        owner = module.get_submodule(name.rpartition(".")[0])
        short = name.rpartition(".")[2]
        held = owner._parameters if short in owner._parameters else owner._buffers
        tensor = tensors[key].to(device)
        # A buffer may have grown in fit, a memory bank say.
        is_parameter = isinstance(held.get(short), nn.Parameter)
        held[short] = nn.Parameter(tensor, held[short].requires_grad) if is_parameter else tensor  # type: ignore[assignment, union-attr]
    for name, part in module.named_modules():
        part.training = name in training
    return module


def _named_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _attributes(component: Any) -> dict[str, Any]:
    """What an instance carries; of an ``nn.Module`` its parameters, buffers and modules too."""
    held = dict(vars(component))
    if isinstance(component, nn.Module):
        for registry in ("_parameters", "_buffers", "_modules"):
            held |= {name: value for name, value in held[registry].items() if value is not None}
        # What the module keeps for itself, a Lightning module's trainer included.
        for base in type(component).__mro__:
            if base.__module__.partition(".")[0] in ("torch", "lightning", "pytorch_lightning"):
                own = vars(base).keys() | getattr(base, "__annotations__", {}).keys()
                held = {name: value for name, value in held.items() if name not in own}
        held = {name: value for name, value in held.items() if name not in vars(nn.Module())}
    return held


def _unchanged(value: Any, before: Any) -> bool:
    """Whether ``fit`` left an attribute as the constructor made it."""
    if isinstance(value, Tensor | nn.Module | Neighbours | Model | Scorer):
        return False  # what it holds may have changed in place
    if isinstance(value, _CODE):
        return True
    if type(value) is not type(before):
        return False
    if isinstance(value, list | tuple):
        return len(value) == len(before) and all(map(_unchanged, value, before))
    if isinstance(value, dict):
        return value.keys() == before.keys() and all(_unchanged(value[k], before[k]) for k in value)
    if isinstance(value, np.ndarray):
        return value.dtype.kind != "O" and np.array_equal(value, before)
    if isinstance(value, _PLAIN) or "__eq__" in vars(type(value)):
        return bool(value == before)
    return hasattr(value, "__dict__") and _unchanged(dict(vars(value)), dict(vars(before)))


def _request_to_json(request: FeatureRequest) -> dict[str, Any]:
    return asdict(request)


def _request_of_json(content: Mapping[str, Any]) -> FeatureRequest:
    spec = content["input"]
    if spec is not None:
        resize, crop = (
            tuple(v) if isinstance(v, list) else v for v in (spec["resize"], spec["crop"])
        )
        spec = InputSpec(resize, crop, spec["aspect"])
    return FeatureRequest(content["backbone"], tuple(content["layers"]), spec)
