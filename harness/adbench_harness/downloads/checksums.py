"""The sha256 of each file of an unpacked folder, in the format that ``sha256sum -c`` reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from adbench_harness.downloads.fetch import sha256
from adbench_harness.errors import UserError

NAME = "SHA256SUMS"


def write(folder: Path) -> None:
    """Write ``folder/SHA256SUMS``, with one line for every other file below ``folder``."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != NAME)
    digests = zip(_digests(paths), paths, strict=True)
    lines = [f"{digest}  {path.relative_to(folder).as_posix()}\n" for digest, path in digests]
    part = folder / f"{NAME}.part"
    part.write_text("".join(lines), encoding="utf-8")
    part.replace(folder / NAME)


def read(folder: Path) -> dict[str, str]:
    """The sha256 by relative path; empty if there is no SHA256SUMS. Raises UserError."""
    file = folder / NAME
    if not file.exists():
        return {}
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    except (OSError, ValueError) as error:
        raise UserError(f"'{file}' cannot be read ({error}); remove it") from None


def differences(folder: Path, sums: dict[str, str]) -> list[str]:
    """Messages about the files of ``sums`` that are missing in ``folder`` or have changed."""
    present = [name for name in sums if (folder / name).is_file()]
    digests = _digests(folder / name for name in present)
    changed = {name for name, digest in zip(present, digests, strict=True) if digest != sums[name]}
    missing = sums.keys() - set(present)
    return [
        f"'{folder / name}' {'is missing' if name in missing else 'changed since it was unpacked'}"
        for name in sums
        if name in missing | changed
    ]


def _digests(paths: Iterable[Path]) -> Sequence[str]:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(sha256, paths))
