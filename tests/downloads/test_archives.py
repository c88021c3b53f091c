from __future__ import annotations

import errno
import gzip
import io
import os
import random
import signal
import stat
import struct
import subprocess
import sys
import tarfile
import time
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import miniatures
from adbench_harness.downloads import archives, checksums
from adbench_harness.downloads.archives import extract
from adbench_harness.errors import UserError

FILES = {
    "train/good/000.png": random.Random(1).randbytes(70_000),
    "a b/ü.txt": b"x",
    "empty": b"",
    "compressible.txt": random.Random(2).randbytes(50_000).hex().encode(),
}
FORMATS = ["tar", "tar.gz", "tar.bz2", "tar.xz", "zip"]


def add(tar: tarfile.TarFile, name: str, data: bytes = b"", **fields: Any) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for key, value in fields.items():
        setattr(member, key, value)
    tar.addfile(member, io.BytesIO(data))


def pack(path: Path, files: dict[str, bytes]) -> Path:
    path.write_bytes(miniatures.pack(path.name, files))
    return path


def part_of(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def refuse(archive: Path, match: str, max_bytes: int | None = None) -> None:
    """Check that the archive is refused in one line and that nothing stays on the disk."""
    folder = archive.parent / "inner" / "folder"
    before = set(archive.parent.rglob("*")) | {folder.parent, Path(f"{folder}.lock")}
    with pytest.raises(UserError, match=match) as caught:
        extract([archive], folder, max_bytes=max_bytes)
    assert "\n" not in str(caught.value)
    assert str(archive) in str(caught.value)
    assert set(archive.parent.rglob("*")) == before


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class TestExtract:
    def test_killed_extraction_leaves_nothing_half_done(self, tmp_path: Path) -> None:
        archive = tmp_path / "many.tar"
        with tarfile.open(archive, "w") as tar:
            for index in range(500):
                add(tar, f"{index}.bin", bytes([index % 251]) * 1000)
        code = (
            "import sys, time; from pathlib import Path\n"
            "from adbench_harness.downloads.archives import extract\n"
            "extract([Path(sys.argv[1])], Path(sys.argv[2]), "
            "progress=lambda *step: time.sleep(0.01))"
        )
        folder = tmp_path / "many"
        command = [sys.executable, "-c", code, str(archive), str(folder)]
        with subprocess.Popen(command) as process:
            wait_for(part_of(folder) / "20.bin")
            process.kill()
        assert process.returncode == -signal.SIGKILL
        assert not folder.exists()
        (part_of(folder) / "stale").touch()
        extract([archive], folder)
        assert {path.name for path in folder.iterdir()} == {f"{index}.bin" for index in range(500)}
        assert not part_of(folder).exists()

    @pytest.mark.parametrize("kind", FORMATS)
    def test_contents(self, tmp_path: Path, kind: str) -> None:
        archive = pack(tmp_path / f"data.{kind}", FILES)
        seen: list[tuple[int, int | None]] = []
        extract([archive], tmp_path / "new" / "data", progress=lambda *s: seen.append(s))
        assert contents(tmp_path / "new" / "data") == FILES
        assert len(seen) == len(FILES)
        assert all(0 < done <= archive.stat().st_size == total for done, total in seen)
        assert seen[0][0] < seen[-1][0] or kind == "tar.bz2"  # which is a single block here

    @pytest.mark.parametrize("kind", FORMATS)
    def test_size_limit_is_exact(self, tmp_path: Path, kind: str) -> None:
        archive = pack(tmp_path / f"data.{kind}", FILES)
        size = sum(map(len, FILES.values()))
        refuse(archive, "more bytes than allowed", max_bytes=size - 1)
        extract([archive], tmp_path / "data", max_bytes=size)
        assert contents(tmp_path / "data") == FILES

    @pytest.mark.parametrize("kind", FORMATS[1:])
    def test_bomb(self, tmp_path: Path, kind: str) -> None:
        archive = pack(tmp_path / f"bomb.{kind}", {"a": bytes(20_000_000)})
        refuse(archive, "more bytes than allowed")
        extract([archive], tmp_path / "trusted", max_bytes=20_000_000)

    def test_empty_archive(self, tmp_path: Path) -> None:
        for kind in FORMATS:
            extract([pack(tmp_path / f"x.{kind}", {})], tmp_path / kind)
            assert list((tmp_path / kind).iterdir()) == []

    def test_tar_that_ends_in_a_zip_is_a_tar(self, tmp_path: Path) -> None:
        inner = pack(tmp_path / "inner.zip", FILES).read_bytes()
        extract([pack(tmp_path / "x.tar", {"in.zip": inner})], tmp_path / "x")
        assert contents(tmp_path / "x") == {"in.zip": inner}

    @pytest.mark.parametrize("kinds", [("zip", "zip"), ("tar.gz", "zip"), ("zip", "tar", "tar.xz")])
    def test_several_archives_fill_one_folder(self, tmp_path: Path, kinds: list[str]) -> None:
        packed = {f"Class{i}/train/{i}.png": bytes([i]) * 9 for i in range(len(kinds))}
        archives = [
            pack(tmp_path / f"{name.partition('/')[0]}.{kind}", {name: data})
            for kind, (name, data) in zip(kinds, packed.items(), strict=True)
        ]
        extract(archives, tmp_path / "data")
        assert contents(tmp_path / "data") == packed

    @pytest.mark.parametrize("kinds", [("zip", "zip"), ("tar", "zip"), ("zip", "tar")])
    def test_no_archive_overwrites_another_ones_files(
        self, tmp_path: Path, kinds: tuple[str, str]
    ) -> None:
        one = pack(tmp_path / f"one.{kinds[0]}", {"a/0.png": b"one", "a/1.png": b"one"})
        two = pack(tmp_path / f"two.{kinds[1]}", {"b/0.png": b"two", "a/1.png": b"two"})
        with pytest.raises(UserError, match=r"two.*'a/1.png' twice, or an earlier archive"):
            extract([one, two], tmp_path / "data")
        assert not (tmp_path / "data").exists()

    def test_one_bad_archive_of_several_leaves_nothing(self, tmp_path: Path) -> None:
        good = pack(tmp_path / "good.zip", FILES)
        (tmp_path / "bad.zip").write_bytes(good.read_bytes()[:-30])
        with pytest.raises(UserError, match=r"bad.zip: cannot be unpacked"):
            extract([good, tmp_path / "bad.zip"], tmp_path / "data")
        assert not (tmp_path / "data").exists()
        assert not part_of(tmp_path / "data").exists()

    def test_finish_sees_the_folder_before_anybody_else(self, tmp_path: Path) -> None:
        archive = pack(tmp_path / "data.zip", FILES)

        def finish(folder: Path) -> None:
            assert contents(folder) == FILES
            assert not (tmp_path / "data").exists()
            (folder / "sums").write_bytes(b"x")

        extract([archive], tmp_path / "data", finish=finish)
        assert contents(tmp_path / "data") == {**FILES, "sums": b"x"}

    def test_full_folder_is_left_and_empty_one_filled(self, tmp_path: Path) -> None:
        archive = pack(tmp_path / "data.zip", FILES)
        (tmp_path / "data").mkdir()
        extract([archive], tmp_path / "data")
        assert contents(tmp_path / "data") == FILES
        archive.unlink()
        extract([archive], tmp_path / "data")
        assert contents(tmp_path / "data") == FILES

    def test_destination_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "data").write_bytes(b"mine")
        with pytest.raises(UserError, match="Not a directory"):
            extract([pack(tmp_path / "data.zip", FILES)], tmp_path / "data")
        assert (tmp_path / "data").read_bytes() == b"mine"

    def test_absent_archive(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="No such file"):
            extract([tmp_path / "absent.zip"], tmp_path / "data")

    @pytest.mark.parametrize("kind", ["tar", "zip"])
    @pytest.mark.parametrize(
        "name",
        [
            "../out",
            "/tmp/out",
            "a/../../out",
            "a/../b",
            "..\\out",
            "C:\\out",
            "c:out",
            "\\\\h\\s\\o",
        ],
    )
    def test_name_that_leads_outside(self, tmp_path: Path, kind: str, name: str) -> None:
        refuse(pack(tmp_path / f"evil.{kind}", {"fine": b"x", name: b"x"}), "outside")

    @pytest.mark.parametrize("type_", [tarfile.SYMTYPE, tarfile.LNKTYPE])
    @pytest.mark.parametrize("link", ["../out", "/etc/passwd", "sub/../../out"])
    def test_link_that_leads_outside(self, tmp_path: Path, type_: bytes, link: str) -> None:
        with tarfile.open(tmp_path / "evil.tar", "w") as tar:
            add(tar, "link", type=type_, linkname=link)
            add(tar, "link/x", b"x")
        refuse(tmp_path / "evil.tar", "outside")

    def test_long_chain_of_links_that_blinds_realpath(self, tmp_path: Path) -> None:
        """CVE-2025-4517: past PATH_MAX, `filter="data"` no longer sees where `..` leads."""
        with tarfile.open(tmp_path / "evil.tar", "w") as tar:
            path, long = "", "d" * 247
            for step in "abcdefghijklmnop":
                add(tar, f"{path}{long}", type=tarfile.DIRTYPE)
                add(tar, f"{path}{step}", type=tarfile.SYMTYPE, linkname=long)
                path += f"{long}/"
            link = "/".join("abcdefghijklmnop") + "/" + "l" * 254
            add(tar, link, type=tarfile.SYMTYPE, linkname="../" * 16)
            add(tar, "escape", type=tarfile.SYMTYPE, linkname=f"{link}/../../out")
            add(tar, "escape", b"written outside")
        refuse(tmp_path / "evil.tar", "outside")

    def test_links_inside(self, tmp_path: Path) -> None:
        with tarfile.open(tmp_path / "links.tar", "w") as tar:
            add(tar, "train/000.png", b"pixels")
            add(tar, "test/same.png", type=tarfile.LNKTYPE, linkname="train/000.png")
            add(tar, "train/alias.png", type=tarfile.SYMTYPE, linkname="000.png")
        extract([tmp_path / "links.tar"], tmp_path / "links")
        names = ("train/000.png", "test/same.png", "train/alias.png")
        assert contents(tmp_path / "links") == dict.fromkeys(names, b"pixels")

    @pytest.mark.parametrize("type_", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
    def test_special_file_in_tar(self, tmp_path: Path, type_: bytes) -> None:
        with tarfile.open(tmp_path / "evil.tar", "w") as tar:
            add(tar, "device", type=type_)
        refuse(tmp_path / "evil.tar", "special file")

    @pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
    def test_special_file_in_zip(self, tmp_path: Path, mode: int) -> None:
        member = zipfile.ZipInfo("link")
        member.create_system = 3
        member.external_attr = (mode | 0o777) << 16
        with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
            archive.writestr(member, "/etc/passwd")
        refuse(tmp_path / "evil.zip", "neither a file nor a folder")

    def test_no_set_user_id(self, tmp_path: Path) -> None:
        with tarfile.open(tmp_path / "x.tar", "w") as tar:
            add(tar, "tool", b"x", mode=0o6777)
        extract([tmp_path / "x.tar"], tmp_path / "x")
        assert stat.S_IMODE((tmp_path / "x" / "tool").stat().st_mode) & 0o7022 == 0

    @pytest.mark.parametrize("kind", FORMATS)
    @pytest.mark.parametrize("keep", [0, 3, 100, 50_000])
    def test_cut_archive(self, tmp_path: Path, kind: str, keep: int) -> None:
        archive = pack(tmp_path / f"data.{kind}", FILES)
        archive.write_bytes(archive.read_bytes()[:keep])
        refuse(archive, "fetch it again")

    @pytest.mark.parametrize("kind", FORMATS[1:])
    @pytest.mark.parametrize("at", [0.1, 0.3, 0.6, 0.7, 0.8, 0.9])
    def test_flipped_bit(self, tmp_path: Path, kind: str, at: float) -> None:
        archive = pack(tmp_path / f"data.{kind}", FILES)
        data = bytearray(archive.read_bytes())
        data[int(len(data) * at)] ^= 4
        archive.write_bytes(data)
        refuse(archive, "fetch it again")

    def test_zip_with_impossible_deflate_block(self, tmp_path: Path) -> None:
        archive = pack(tmp_path / "data.zip", {"a": b"x" * 100})
        data = bytearray(archive.read_bytes())
        data[len("a") + 30] |= 6  # the first byte behind the member's header
        archive.write_bytes(data)
        refuse(archive, "fetch it again")

    def test_damaged_header_is_not_taken_for_the_end(self, tmp_path: Path) -> None:
        archive = pack(tmp_path / "data.tar", {"a": b"x", "b": b"x", "c": b"x"})
        data = bytearray(archive.read_bytes())
        data[1024] ^= 4
        archive.write_bytes(data)
        refuse(archive, "fetch it again")

    def test_zip_that_understates_its_size(self, tmp_path: Path) -> None:
        archive = pack(tmp_path / "evil.zip", {"a": bytes(1_000_000)})
        size, lie = (number.to_bytes(4, "little") for number in (1_000_000, 10))
        archive.write_bytes(archive.read_bytes().replace(size, lie))
        refuse(archive, "fetch it again")

    def test_encrypted_zip(self, tmp_path: Path) -> None:
        archive = pack(tmp_path / "locked.zip", {"a": b"x"})
        with zipfile.ZipFile(archive) as reader:
            directory = reader.start_dir
        data = bytearray(archive.read_bytes())
        data[6] |= 1
        data[directory + 8] |= 1
        archive.write_bytes(data)
        refuse(archive, "encrypted")

    @pytest.mark.parametrize("data", [b"<html>please log in</html>" * 100, b"\x1f\x8b", b"PK\3\4"])
    def test_no_archive(self, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "page.zip").write_bytes(data)
        refuse(tmp_path / "page.zip", "fetch it again")


# ---------------------------------------------------------------- as an attacker would


def tar(*members: tuple[str, dict[str, Any]], **options: Any) -> bytes:
    """A tar of members, each a name and its fields; ``data`` is its content."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", **options) as archive:
        for name, fields in members:
            add(archive, name, **fields)
    return file.getvalue()


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = 8) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", method) as archive:
        warnings.simplefilter("ignore")  # about duplicates
        for member, data in members:
            archive.writestr(member, data, method)
    return file.getvalue()


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tuple[str, dict[str, Any]]:
    return name, {"type": kind, "linkname": to}


def plain(name: str = "a.png", data: bytes = b"pixels") -> tuple[str, dict[str, Any]]:
    return name, {"data": data}


def header(kind: bytes, size: int) -> bytes:
    """The header of a member of ``size`` bytes, which do not follow."""
    info = tarfile.TarInfo("header")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def gzipped_zeros(start: bytes, count: int, end: bytes = b"") -> bytes:
    """``start``, ``count`` zeros and ``end`` as gzip, made without memory."""
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as packed:
        packed.write(start)
        for _ in range(count >> 20):
            packed.write(bytes(1 << 20))
        packed.write(end)
    return file.getvalue()


def sized(name: str, size: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = size << 16
    return info


def overlapping(count: int) -> bytes:
    """A zip whose ``count`` entries share the data of the first one."""
    single = zipped(("0", bytes(1 << 20)))
    directory = single.index(b"PK\1\2")
    entry = bytearray(single[directory : single.index(b"PK\5\6")])
    entries = b"".join(bytes(entry[:46]) + b"%d" % (i % 10) for i in range(count))
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(entries), directory, 0)
    return single[:directory] + entries + end


def sparse(size: int) -> bytes:
    """A tar of a sparse file of ``size`` bytes without any content."""
    pax = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.map": "0,0"}
    info = tarfile.TarInfo("sparse.png")
    info.pax_headers = {**pax, "GNU.sparse.size": str(size), "GNU.sparse.name": "sparse.png"}
    return info.tobuf(tarfile.PAX_FORMAT) + bytes(1024)


def negative() -> bytes:
    """A tar whose member has a size of -512 bytes, so that a reader may stay at one place."""
    data = bytearray(tar(plain()))
    data[124:136] = b"\xff" * 10 + (65536 - 512).to_bytes(2)
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


def empties(count: int) -> bytes:
    whole = bytearray()
    for index in range(count):
        whole += tarfile.TarInfo(f"{index}").tobuf(tarfile.USTAR_FORMAT)
    return bytes(whole) + bytes(1024)


HUGE = 1 << 27
TOO_MUCH = "more bytes than allowed"
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "a PAX header of 128 MB": (
        lambda: gzipped_zeros(header(tarfile.XHDTYPE, HUGE), HUGE),
        TOO_MUCH,
    ),
    "a global PAX header of 128 MB": (
        lambda: gzipped_zeros(header(tarfile.XGLTYPE, HUGE), HUGE),
        TOO_MUCH,
    ),
    "a GNU long name of 128 MB": (
        lambda: gzipped_zeros(header(tarfile.GNUTYPE_LONGNAME, HUGE), HUGE),
        TOO_MUCH,
    ),
    "128 MB of zeros behind the end": (
        lambda: gzipped_zeros(tar(plain()), HUGE),
        TOO_MUCH,
    ),
    "a link that claims 128 MB": (
        lambda: gzipped_zeros(header(tarfile.SYMTYPE, HUGE), HUGE, tar(plain())),
        "missing|allowed|cannot be unpacked",
    ),
    "a file of 128 MB of zeros": (
        lambda: gzipped_zeros(header(tarfile.REGTYPE, HUGE), HUGE),
        TOO_MUCH,
    ),
    "a sparse file of a terabyte": (lambda: sparse(1 << 40), TOO_MUCH),
    "a size below zero": (negative, "cannot be unpacked"),
    "empty files in a tar": (
        lambda: gzip.compress(empties(2000), 1),
        "more files than its size allows",
    ),
    "empty files in a zip": (
        lambda: zipped(*((str(i), b"") for i in range(2000)), method=0),
        "more files than its size allows",
    ),
    "a hard link to a missing member": (
        lambda: tar(link("a.png", "b.png", tarfile.LNKTYPE)),
        r"'a.png' is a link to a file that is not there",
    ),
    "a hard link to itself": (
        lambda: tar(link("a.png", "a.png", tarfile.LNKTYPE)),
        "link to a file that is not there",
    ),
    "a hard link to a file outside": (
        lambda: tar(link("a.png", "../../secret", tarfile.LNKTYPE)),
        "outside",
    ),
    "a path that goes up": (lambda: tar(plain("../escaped")), "outside"),
    "an absolute path": (lambda: tar(plain("/tmp/escaped")), "outside"),
    "a link to a folder outside, and a file through it": (
        lambda: tar(link("out", "/tmp"), plain("out/escaped")),
        "outside",
    ),
    "a chain of links, and a file through it": (
        lambda: tar(
            ("a", {"type": tarfile.DIRTYPE}), link("a/b", ".."), link("c", "a/b/.."), plain("c/x")
        ),
        "outside",
    ),
    "a device": (lambda: tar(("null", {"type": tarfile.CHRTYPE})), "special file"),
    "a pipe": (lambda: tar(("pipe", {"type": tarfile.FIFOTYPE})), "special file"),
    "a file twice in a tar": (lambda: tar(plain(), plain(data=b"other")), "'a.png' twice"),
    "a file twice in a zip": (lambda: zipped(("a.png", b"1"), ("a.png", b"2")), "'a.png' twice"),
    "a file, then a link of its name": (lambda: tar(plain(), link("a.png", "b")), "'a.png' twice"),
    "a link, then a file of its name": (lambda: tar(link("a.png", "b"), plain()), "'a.png' twice"),
    "a file that is a folder too": (lambda: tar(plain("a"), plain("a/b")), "cannot be unpacked"),
    "a newline in a name of a tar": (lambda: tar(plain("a\nb.png")), r"'a\\nb.png' is not a pr"),
    "an escape sequence in a name": (lambda: tar(plain("\x1b[2J.png")), r"'\\x1b\[2J.png' is not"),
    "a line separator in a name": (lambda: tar(plain("a\u2028b")), r"'a\\u2028b' is not a print"),
    "a name that is not UTF-8": (lambda: tar(plain("\udcff.png")), r"'\\udcff.png' is not a pr"),
    "a newline in a name of a zip": (lambda: zipped(("a\nb.png", b"x")), r"'a\\nb.png' is not"),
    "NUL in a name of PAX": (
        lambda: tar(("x", {"pax_headers": {"path": "a\0b.png"}}), format=tarfile.PAX_FORMAT),
        r"'a\\x00b.png' is not a printable name",
    ),
    "a very long name": (lambda: tar(plain("a" * 5000)), "too long"),
    "a very deep path": (lambda: tar(plain("a/" * 5000 + "b")), "too long"),
    "a tar in a gzip in a gzip": (
        lambda: gzip.compress(gzip.compress(tar(plain()))),
        "cannot be unpacked",
    ),
    "a gzip that is no tar": (lambda: gzip.compress(b"x" * 5000), "cannot be unpacked"),
    "a zip bomb": (lambda: zipped(("a", bytes(1 << 28))), TOO_MUCH),
    "a zip whose entries overlap": (lambda: overlapping(1000), f"{TOO_MUCH}|[Oo]verlap|differ"),
    "a zip packed by bzip2, which takes memory": (
        lambda: zipped(("a", bytes(1 << 20)), method=zipfile.ZIP_BZIP2),
        "'a' is not packed by deflate",
    ),
    "a zip packed by LZMA": (
        lambda: zipped(("a", bytes(1 << 20)), method=zipfile.ZIP_LZMA),
        "'a' is not packed by deflate",
    ),
    "a link in a zip": (
        lambda: zipped((sized("link", stat.S_IFLNK | 0o777), b"/etc/passwd")),
        "neither a file nor a folder",
    ),
}


@pytest.mark.parametrize("attack", REFUSED)
def test_a_hostile_archive_is_refused_in_one_line_and_leaves_nothing(
    tmp_path: Path, attack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MEMBERS", 1000)  # to be fast
    make, reason = REFUSED[attack]
    (tmp_path / "secret").write_text("untouched")
    archive = tmp_path / "evil"
    archive.write_bytes(make())
    tracemalloc.start()
    try:
        refuse(archive, reason)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 << 20
    assert (tmp_path / "secret").read_text() == "untouched"
    assert not Path("/tmp/escaped").exists()


ACCEPTED: dict[str, tuple[bytes, dict[str, bytes]]] = {
    "names that differ by case": (
        tar(plain("A.png"), plain("a.png", b"other")),
        {"A.png": b"pixels", "a.png": b"other"},
    ),
    "names that Windows reserves": (tar(plain("aux"), plain("con.png")), {}),
    "a link to its own folder": (tar(plain(), link("loop", ".")), {"a.png": b"pixels"}),
    "a link to itself": (tar(plain(), link("loop", "loop")), {"a.png": b"pixels"}),
    "a folder twice": (
        tar(("a", {"type": tarfile.DIRTYPE}), ("a", {"type": tarfile.DIRTYPE}), plain("a/b")),
        {"a/b": b"pixels"},
    ),
    "a folder that nobody may enter": (
        tar(("a", {"type": tarfile.DIRTYPE, "mode": 0}), plain("a/b")),
        {"a/b": b"pixels"},
    ),
    "an archive in an archive, which stays packed": (
        zipped(("in.zip", zipped(("a", bytes(1 << 20))))),
        {},
    ),
    "zeros behind the end, as some writers leave them": (
        tar(plain()) + bytes(1 << 16),
        {"a.png": b"pixels"},
    ),
}


@pytest.mark.parametrize("kind", ACCEPTED)
def test_an_odd_archive_is_unpacked_inside_its_folder(tmp_path: Path, kind: str) -> None:
    data, wanted = ACCEPTED[kind]
    archive = tmp_path / "odd"
    archive.write_bytes(data)
    extract([archive], tmp_path / "inner" / "data", finish=checksums.write)
    found = contents(tmp_path / "inner" / "data")
    assert found.pop("SHA256SUMS")
    assert found == wanted or (not wanted and found)
    assert {path.name for path in tmp_path.iterdir()} == {"odd", "inner"}


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_full_disk_asks_for_room_and_leaves_nothing(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    archive = pack(tmp_path / f"data.{kind}", FILES)
    monkeypatch.setattr("tarfile.copyfileobj", full)
    monkeypatch.setattr("shutil.copyfileobj", full)
    refuse(archive, r"No space left on device\); make room, and the same command goes on")
