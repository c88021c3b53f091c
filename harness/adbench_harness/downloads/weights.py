"""Finds a backbone's weights and identifies the file."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from adbench_harness.errors import UserError
from adbench_harness.results.trial import Weights

if TYPE_CHECKING:
    from adbench_harness.types import Backbone, WeightFile

EMBEDDED = "embedded"
STAND_IN = "efficientnet_lite0"
"""The backbone that is used where the weights of a model's own are not found."""

SUFFIXES = (".safetensors", ".pth", ".pt")


def hub_folder() -> Path:
    """The folder in which torch and ``adbench weights fetch`` store downloaded weights."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def find(
    backbone: Backbone, location: str | None, others: Collection[Backbone] | None = None
) -> Weights | None:
    """The backbone's weights; None if absent.

    They are searched in ``location`` (file or folder), in torch's hub cache, and in the
    distribution that contains them. In a folder, a file belongs to the backbone if it has the
    published name, or if its name begins with the backbone's name and a dash. A file given by its
    path is taken whatever its name, unless it belongs to one of ``others`` (None: by its name
    only). The sha256 is compared with the published one.
    """
    if backbone.weights is None:
        return Weights(backbone.name, backbone.version)
    folders = [hub_folder()]
    if location:
        path = _existing(location)
        taken = others is not None and not any(_belongs(other, path) for other in others)
        if path.is_file() and (taken or _belongs(backbone, path)):
            return _identified(backbone.weights, backbone.name, backbone.version, path)
        folders.insert(0, path)
    for folder in folders:
        named = folder / backbone.weights.filename
        own = sorted(path for path in folder.glob("*") if _belongs(backbone, path))
        for path in [named] * named.exists() + own:
            return _identified(backbone.weights, backbone.name, backbone.version, path)
    if shipped := installed(backbone.weights):
        return _identified(backbone.weights, backbone.name, backbone.version, shipped)
    return None


def find_file(
    file: WeightFile,
    version: int,
    location: str | None,
    others: Collection[Backbone] | None = None,
) -> Weights | None:
    """A file of weights of a model's own; None if it is not here.

    In a folder, it has the published name. A file given by its path is also taken if it has the
    published sha256, or whatever its name unless it belongs to one of ``others`` (None: they and
    the model's other files might be meant).
    """
    folders = [hub_folder()]
    if location:
        path = _existing(location)
        if path.is_file():
            given = _identified(file, file.filename, version, path)
            taken = others is not None and not any(_belongs(other, path) for other in others)
            if taken or given.verified or path.name == file.filename:
                return given
        folders.insert(0, path if path.is_dir() else path.parent)
    for folder in folders:
        path = folder / file.filename
        if path.is_file():
            return _identified(file, file.filename, version, path)
    if shipped := installed(file):
        return _identified(file, file.filename, version, shipped)
    return None


def installed(file: WeightFile) -> Path | None:
    """The file in the distribution that contains it, none of whose code is imported, or None."""
    if file.distribution is None:
        return None
    try:
        listed = metadata.files(file.distribution) or ()
    except metadata.PackageNotFoundError:
        return None
    paths = (Path(str(entry.locate())) for entry in listed if entry.name == file.filename)
    return next(filter(Path.is_file, paths), None)


def _existing(location: str) -> Path:
    path = Path(location).expanduser()
    if not path.exists():
        raise UserError(f"weights '{location}' not found; correct --weights or ADBENCH_WEIGHTS")
    return path


def _belongs(backbone: Backbone, path: Path) -> bool:
    if backbone.weights is None:
        return False
    own_name = path.suffix in SUFFIXES and path.stem.startswith(f"{backbone.name}-")
    return own_name or path.name == backbone.weights.filename


def _identified(published: WeightFile, name: str, version: int, path: Path) -> Weights:
    digest = _sha256(path, path.stat().st_mtime_ns)
    verified = published.sha256 is not None and digest.startswith(published.sha256)
    return Weights(name, version, str(path), digest, verified)


@lru_cache(maxsize=64)
def _sha256(path: Path, _changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_layers(backbone: Backbone, layers: Sequence[str]) -> None:
    """Raise UserError, with the list of existing layers, unless the backbone has ``layers``."""
    unknown = [layer for layer in layers if layer not in backbone.layers]
    if unknown:
        raise UserError(
            f"backbone '{backbone.name}' has no layer {', '.join(unknown)}; it has "
            f"{', '.join(backbone.layers)}"
        )
