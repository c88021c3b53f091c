"""Images as a model's input, kept on disk so that the next run need not prepare them again."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from adbench_harness.images import folders
from adbench_harness.images.inputs import Inputs
from adbench_harness.types import InputSpec, Sample

VERSION = 2
"""The version of the prepared images, which must be raised when a pixel may change."""
LIMIT = 10 * 2**30
"""Maximum size of the folder in bytes; the least recently used entries are deleted first."""
_DAY = 24 * 60 * 60


def folder() -> Path:
    """The folder of the entries, which can be deleted at any time."""
    return folders.cache_folder() / "inputs"


def entry(made_of: Sequence[Any], spec: InputSpec) -> Path:
    """The file of images for ``spec``; ``made_of`` is plain data on which they also depend."""
    libraries = [VERSION, cv2.__version__, torch.__version__]
    content = json.dumps([*made_of, asdict(spec), libraries], sort_keys=True)
    return folder() / f"{hashlib.sha256(content.encode()).hexdigest()[:32]}.npy"


def source(component: type) -> str:
    """A digest of a component's package: authors change the code before they raise the version."""
    module = sys.modules[component.__module__.partition(".")[0]]
    digest = hashlib.sha256()
    for root in getattr(module, "__path__", [inspect.getfile(component)]):
        for path in [Path(root), *sorted(Path(root).rglob("*.py"))]:
            if path.is_file():
                digest.update(path.read_bytes())
    return digest.hexdigest()


def load(path: Path, samples: Sequence[Sample]) -> Inputs | None:
    """The images of ``samples``, mapped into memory; None if they are missing or damaged."""
    try:
        records = np.asarray(np.lib.format.open_memmap(path, mode="c"))
        rows = records.view(np.uint8).reshape(len(samples), -1)
        sums = [zlib.crc32(row[:-4].data) for row in rows]
        if sums != records["crc"].tolist():
            return None
        os.utime(path)
        pixels = torch.from_numpy(records["pixels"])
        return Inputs(tuple(samples), pixels, records["size"], records["seconds"])
    except Exception:
        # Whatever is wrong with the file, it is made again.
        return None


def save(path: Path, inputs: Inputs) -> None:
    """Store ``inputs`` if there is room; several processes may do so at once."""
    # A failure does not matter: what is not stored is made again.
    with suppress(OSError):
        _save(path, inputs)


def _save(path: Path, inputs: Inputs) -> None:
    count, *shape = inputs.pixels.shape
    pixels = ("pixels", "u1", tuple(shape))
    record = np.zeros(1, [pixels, ("size", "<i4", 2), ("seconds", "<f8"), ("crc", "<u4")])
    raw = record.view(np.uint8)
    size = record.nbytes * count
    path.parent.mkdir(parents=True, exist_ok=True)
    if size > LIMIT or size > shutil.disk_usage(path.parent).free / 2:
        return
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            header = {"descr": record.dtype.descr, "fortran_order": False, "shape": (count,)}
            np.lib.format.write_array_header_1_0(file, header)
            # One at a time: a copy of all would add to the run's peak memory.
            for index in range(count):
                record["pixels"] = inputs.pixels[index].numpy()
                record["size"], record["seconds"] = inputs.sizes[index], inputs.seconds[index]
                record["crc"] = zlib.crc32(raw[:-4].data)
                file.write(raw.data)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    _prune(path)


def _prune(newest: Path) -> None:
    """Delete the least recently used entries above the limit, and what a killed process left."""
    used = 0
    for path in sorted(newest.parent.iterdir(), key=_last_used, reverse=True):
        with suppress(OSError):
            if path.suffix == ".tmp":
                if _last_used(path) < time.time() - _DAY:
                    path.unlink()
            elif path != newest and used + path.stat().st_size > LIMIT:
                path.unlink()
            else:
                used += path.stat().st_size


def _last_used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
