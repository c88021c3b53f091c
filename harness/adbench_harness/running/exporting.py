"""A trial's pipeline as one graph of torch operations: from an image to its score and its map."""

from __future__ import annotations

import importlib.util
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from adbench_harness.errors import NotInstalled, UserError, said
from adbench_harness.images.geometry import cropped, resized
from adbench_harness.running.predicting import Predictor
from adbench_harness.types import Component, InputSpec

SUFFIXES = (".pt2", ".onnx")
_REASON = 160
"""Maximum number of characters of torch's reasons, which are pages long."""


class Pipeline(nn.Module):
    """An image, uint8 RGB [1, 3, H, W] -> its score [1], and its map [1, h, w] over the input.

    With a ``threshold`` also ``anomalous``, bool [1]: whether the score is higher. What a row lacks
    is absent from the returned dict. Raises UserError if the pipeline has a step outside torch.
    """

    def __init__(
        self, predictor: Predictor, size: tuple[int, int], threshold: float | None
    ) -> None:
        super().__init__()
        if predictor.steps:
            names = ", ".join(step.name for step in predictor.steps)
            raise UserError(
                f"preprocessor {names} is no graph of torch operations; export a row without it"
            )
        self.prepare = Prepare(predictor.input, size)
        self._predictor = [predictor]  # not a submodule
        self._threshold = threshold
        # A graph may contain the parameters of its own submodules only.
        self.parts = nn.ModuleList(dict.fromkeys(_modules(predictor)))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        scores = self._predictor[0].scored(self.prepare(image))
        found = {"score": scores.image, "map": scores.map, "classes": scores.classes}
        if scores.image is not None and self._threshold is not None:
            found["anomalous"] = scores.image > self._threshold
        return {name: value for name, value in found.items() if value is not None}


class Prepare(nn.Module):
    """``geometry.to_input`` as products of matrices, for images of one size.

    uint8 [1, 3, H, W] -> float32 [1, 3, h, w] in [0, 1]. torch resizes uint8 with weights of 16
    bits, first along rows, then along columns, and rounds each time; so does this.
    """

    def __init__(self, spec: InputSpec, size: tuple[int, int]) -> None:
        super().__init__()
        self._spec = spec
        height, width = resized(spec, size)
        self.across = _Along(size[1], width)
        self.down = _Along(size[0], height)

    def forward(self, image: Tensor) -> Tensor:
        values = image.to(torch.float64)
        values = self.across(values)
        values = self.down(values.transpose(2, 3)).transpose(2, 3)
        if self._spec.crop is not None:
            values = cropped(values, self._spec.size)
        return values.float() / 255


class _Along(nn.Module):
    """Resizes the last dimension from ``before`` to ``after`` values."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.same = before == after
        unit = torch.eye(before, dtype=torch.float64)[:, None, None]
        weights = functional.interpolate(unit, (1, after), mode="bilinear", antialias=True)
        weights = weights[:, 0, 0]
        bits = 0
        while bits < 22 and int(0.5 + float(weights.max()) * 2 ** (bits + 1)) < 2**15:
            bits += 1
        self.scale = float(2**bits)
        self.weights: Tensor
        self.register_buffer("weights", torch.floor(weights * self.scale + 0.5))

    def forward(self, values: Tensor) -> Tensor:
        if self.same:
            return values
        products = values @ self.weights  # whole numbers below 2**53: exact
        return torch.floor(products / self.scale + 0.5).clamp(0, 255)


def write(predictor: Predictor, size: tuple[int, int], threshold: float | None, path: Path) -> None:
    """Write the pipeline for images of ``size`` (height, width) as a .pt2 or .onnx file.

    Images with a score above ``threshold`` are anomalous; None: the file does not tell.

    Raises UserError if it has a step that cannot be exported.
    """
    pipeline = Pipeline(predictor, size, threshold).eval()
    example = torch.zeros(1, 3, *size, dtype=torch.uint8)
    try:
        with torch.no_grad(), _quiet():
            program = torch.export.export(pipeline, (example,), strict=False)
            if path.suffix == ".pt2":
                torch.export.save(program, path)
                return
            _installed()
            torch.onnx.export(
                program,
                (example,),
                path,
                input_names=["image"],
                output_names=list(pipeline(example)),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"'{predictor.title}' cannot be exported: a step of it is no graph of torch "
            f"operations ({said(error).splitlines()[0][:_REASON]})"
        ) from error


def load(path: Path) -> Any:
    """The exported pipeline as a function: uint8 array [1, 3, H, W] -> arrays by name."""
    if path.suffix == ".pt2":
        with _quiet():
            module = torch.export.load(path).module()

        def run(image: np.ndarray) -> dict[str, np.ndarray]:
            with torch.no_grad():
                found = module(torch.from_numpy(image))
            return {name: value.numpy() for name, value in found.items()}

        return run
    _installed()
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    (given,) = session.get_inputs()

    def run_onnx(image: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, {given.name: image}), strict=True))

    return run_onnx


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's warnings and graphs, of which a user can make nothing."""
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _installed() -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise NotInstalled(
                f"{package} is not installed; pip install 'adbench-harness[onnx]', or write a .pt2 "
                "file"
            )


def _modules(predictor: Predictor) -> Iterator[nn.Module]:
    """The networks that the pipeline uses, wherever its components keep them."""
    seen: set[int] = set()

    def walk(value: Any) -> Iterator[nn.Module]:
        if id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, nn.Module):
            yield value
        elif isinstance(value, Component):
            for one in vars(value).values():
                yield from walk(one)
        elif isinstance(value, list | tuple):
            for one in value:
                yield from walk(one)
        elif isinstance(value, dict):
            yield from walk(list(value.values()))

    yield from walk(predictor.components)
    yield from predictor.networks()
