"""Unpacks archives that nobody has checked, within bounds of bytes, of files and of memory."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import IO, Any, BinaryIO

from filelock import FileLock

from adbench_harness.downloads.fetch import CHUNK, DownloadProgress
from adbench_harness.errors import UserError, line, no_room

MAX_RATIO = 100
"""Maximum size of an archive's files, in units of the archive's own size."""
MEMBERS = 10_000
"""An archive may have so many members, and one more for each 1,000 of its bytes."""
_HEADERS = 1 << 20
"""Bytes of a tar that need not belong to a file: headers, and zeros behind the end."""
_HEADER = 1 << 13
"""Further such bytes for each member."""
_PATH = 4096
"""Linux's limit of a path, in bytes."""
_COMPRESSED: Mapping[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
_UNSAFE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories of control characters, of line breaks, and of bytes that are not UTF-8."""


def extract(
    archives: Sequence[Path],
    destination: Path,
    *,
    max_bytes: int | None = None,
    progress: DownloadProgress | None = None,
    finish: Callable[[Path], object] | None = None,
) -> None:
    """Unpack zip or tar archives (plain, gzip, bzip2, xz) into one folder, `destination`.

    The folder appears only when it is complete, so an existing folder that is not empty is left
    unchanged. `progress` counts bytes of an archive; `finish` adds to the folder before it appears.
    Raises UserError for an archive that is damaged, that would unpack to more than `max_bytes`
    (None: MAX_RATIO times its own size) or to too many members, that contains anything but folders,
    files and, in tar, links without `..`, or that contains a file twice or one of an earlier
    archive.
    """
    part, archive = Path(f"{destination}.part"), archives[0]
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{destination}.lock"):
            if destination.exists() and any(destination.iterdir()):
                return
            shutil.rmtree(part, ignore_errors=True)  # left by a killed process
            part.mkdir()
            try:
                for archive in archives:
                    _unpack(archive, part, max_bytes, progress)
                if finish:
                    finish(part)
                part.replace(destination)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    except (
        *(OSError, EOFError, RuntimeError, ValueError, zlib.error, lzma.LZMAError),
        *(tarfile.TarError, zipfile.BadZipFile),
    ) as error:
        if no_room(error):
            raise UserError(
                f"{archive}: cannot be unpacked ({error}); make room, and the same command goes on"
            ) from error
        reason = line(str(error).partition(":\n")[0])
        raise UserError(
            f"{archive}: cannot be unpacked ({reason}); fix this, or delete it and fetch it again"
        ) from error


def _unpack(
    archive: Path, folder: Path, max_bytes: int | None, progress: DownloadProgress | None
) -> None:
    size = archive.stat().st_size
    limit = MAX_RATIO * size if max_bytes is None else max_bytes
    members = MEMBERS + size // 1000
    with archive.open("rb") as raw:
        read = _zip_members if raw.read(4) in (b"PK\3\4", b"PK\5\6") else _tar_members
        raw.seek(0)
        for names, length, write in read(raw, folder):
            for name in names:
                _check_name(name)
            target = folder / names[0]
            if os.path.lexists(target) and not target.is_dir():
                raise ValueError(f"it has '{names[0]}' twice, or an earlier archive has it too")
            limit -= length
            if limit < 0:
                raise ValueError("it would unpack to more bytes than allowed: do not trust it")
            members -= 1
            if members < 0:
                raise ValueError("it has more files than its size allows: do not trust it")
            write()
            if progress:
                progress(raw.tell(), size)


def _check_name(name: str) -> None:
    """Raise ValueError unless every system can store the file below the folder and list it."""
    if any(unicodedata.category(c) in _UNSAFE for c in name):
        raise ValueError(f"{name!a} is not a printable name: do not trust it")
    if len(name) >= _PATH:
        raise ValueError(f"'{name[:40]}...' is a name of {len(name)} characters, which is too long")
    path = PureWindowsPath(name)  # handles "/", "\\" and drive letters
    if path.anchor or ".." in path.parts:
        raise ValueError(f"'{path}' may point outside the folder: do not trust it")


_Member = tuple[tuple[str, ...], int, Callable[[], object]]
"""Names to check, unpacked size in bytes, and a function that writes the member."""


class _Counted:
    """A file of which only ``left`` more bytes may be read, however small it was when packed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.left = _HEADERS

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise tarfile.ReadError("it has more bytes than allowed between its files")
        return data


def _tar_members(raw: BinaryIO, folder: Path) -> Iterator[_Member]:
    start = raw.read(8)
    raw.seek(0)
    openers = (opener for magic, opener in _COMPRESSED.items() if start.startswith(magic))
    opener = next(openers, None)
    counted = _Counted(opener(raw) if opener else raw)
    # In the mode "r|", everything is read once, from the beginning to the end.
    with tarfile.open(fileobj=counted, mode="r|") as tar:  # type: ignore[call-overload]
        for member in tar:
            if member.islnk() and not (folder / member.linkname).is_file():
                raise tarfile.ReadError(f"{member.name!r} is a link to a file that is not there")
            stored = member.size if member.isreg() else 0
            if member.sparse:
                stored = sum(length for _, length in member.sparse)

            def write(member: tarfile.TarInfo = member, stored: int = stored) -> None:
                counted.left += stored + _HEADER
                tar.extract(member, folder, filter="data")

            yield (member.name, member.linkname), max(member.size, stored), write
        # tarfile mistakes a damaged header for the end and never reaches the checksum after it.
        while tar.fileobj and (rest := tar.fileobj.read(CHUNK)):
            if rest.strip(b"\0"):
                raise tarfile.ReadError("data after its end")


def _zip_members(raw: BinaryIO, folder: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(raw) as archive:
        for member in archive.infolist():
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise zipfile.BadZipFile(f"{member.filename!r} is neither a file nor a folder")
            # zipfile unpacks the others without a limit on its memory.
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise zipfile.BadZipFile(f"{member.filename!r} is not packed by deflate")
            yield (member.filename,), member.file_size, partial(archive.extract, member, folder)
