"""Finds the folder of a data set, and identifies its files."""

from __future__ import annotations

import errno
import hashlib
import os
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from adbench_harness.errors import UserError, no_room, printable
from adbench_harness.images import headers
from adbench_harness.images.headers import Header
from adbench_harness.types import Sample

if TYPE_CHECKING:
    from adbench_harness.types import Dataset

_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)


def cache_folder() -> Path:
    """The folder of what the harness can make again: ``ADBENCH_CACHE``, or the user's cache."""
    return Path(os.environ.get("ADBENCH_CACHE") or platformdirs.user_cache_dir("adbench"))


def locate(dataset: Dataset, data: str | None, named: Mapping[str, str]) -> Path:
    """The folder of ``dataset``: the named one, or one in the data folder or in the cache.

    A data set that can be built is built into the cache. Raises UserError with the next step.
    """
    if dataset.name in named:
        root = Path(named[dataset.name]).expanduser()
        if not root.is_dir():
            raise UserError(
                f"data set '{dataset.name}': '{root}' is not a folder; correct "
                f"--data {dataset.name}=DIR"
            )
        return root
    cached = cache_folder() / "data" / dataset.name
    try:
        if (built := dataset.build(cached)) is not None:
            return built
    except OSError as error:
        if not (no_room(error) or error.errno in _FORBIDDEN):
            raise
        step = "make room" if no_room(error) else "let ADBENCH_CACHE name another folder"
        raise UserError(
            f"data set '{dataset.name}' cannot be built in '{cached}' ({error.strerror}); {step}, "
            "and the same command goes on"
        ) from error
    below = Path(data).expanduser() / dataset.name if data else cached
    for root in (below, cached):
        if root.is_dir():
            return root
    where = f"is not in '{below}'" if data else "was not found"
    raise UserError(
        f"data set '{dataset.name}' {where}; name its folder with --data {dataset.name}=DIR"
        + (f" or run 'adbench data fetch {dataset.name}'" if dataset.archives else "")
    )


def fingerprint(root: Path, samples: Sequence[Sample]) -> str:
    """Sixteen hex digits over every sample's path, split, label and bytes, masks included."""
    digests = [
        _digest(sample, files)
        for sample, files in zip(samples, contents(root, samples), strict=True)
    ]
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Contents:
    """What a sample's files hold: a digest of all, and of the image its header and checksum."""

    digest: Any
    header: Header | None
    checksum: int


def contents(root: Path, samples: Sequence[Sample]) -> list[Contents]:
    """What the files of each sample hold; a file is read once a process, until it changes."""

    def one(sample: Sample) -> Contents:
        paths = (sample.image, *sample.masks, *sample.extras.values())
        stats = (path.stat() for path in paths)
        return _contents(
            tuple((relative(root, path), path) for path in paths),
            # Tools that keep a file's time still change the others.
            tuple((s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for s in stats),
        )

    with ThreadPoolExecutor(workers()) as pool:
        return list(pool.map(one, samples))


@lru_cache(maxsize=2**17)
def _contents(
    paths: tuple[tuple[str, Path], ...], stats: tuple[tuple[int, int, int, int], ...]
) -> Contents:
    digest = hashlib.sha256()
    image = b""
    for number, ((name, path), (size, *_)) in enumerate(zip(paths, stats, strict=True)):
        # What decoding refuses for its size must not be read into memory here.
        content = path.read_bytes() if size <= headers.LARGEST else b""
        digest.update(name.encode())
        digest.update(content)
        image = image if number else content
    return Contents(digest, headers.read(image), zlib.crc32(image))


def _digest(sample: Sample, files: Contents) -> str:
    """Of a sample's files and what is known of it; what is usual is left out."""
    known = repr((sample.split, sample.label, sample.defect, sample.group))
    if sample.saturation:
        known += repr(sample.saturation)
    if sample.depth != 8 or sample.mask_rules:
        known += repr((sample.depth, sample.mask_rules))
    digest = files.digest.copy()
    digest.update(known.encode())
    return str(digest.hexdigest())


def relative(root: Path, path: Path) -> str:
    """``path`` as results name it: relative to the data root if it is under it."""
    return printable((path.relative_to(root) if path.is_relative_to(root) else path).as_posix())


@cache
def workers() -> int:
    """Threads for decoding: the cores that this process may use."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
