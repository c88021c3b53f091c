from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import adbench_harness
import miniatures
from adbench_harness.downloads import fetch
from adbench_harness.downloads.fetch import download, extract
from adbench_harness.errors import UserError
from servers import BODY, Reply, Server

if TYPE_CHECKING:
    from collections.abc import Callable

SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "weights.pth"


def part_of(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def leave_part(server: Server, target: Path, cut: int) -> None:
    """Leave behind what a process killed after `cut` bytes leaves."""

    def die(done: int, total: int | None) -> None:
        if done >= cut:
            raise KeyboardInterrupt

    replies, server.replies = server.replies, [Reply(cut=cut)]
    with pytest.raises(KeyboardInterrupt):
        download(server.url, target, sha256=SHA256, progress=die)
    assert part_of(target).stat().st_size == cut
    assert not target.exists()
    server.replies, server.sent = replies, 0
    server.requests.clear()


def fetch_process(url: str, target: Path) -> subprocess.Popen[bytes]:
    code = (
        "import sys; from pathlib import Path\n"
        "from adbench_harness.downloads.fetch import download\n"
        "download(sys.argv[1], Path(sys.argv[2]), sha256=sys.argv[3])"
    )
    command = [sys.executable, "-c", code, url, str(target), SHA256]
    return subprocess.Popen(command, env=child_environment())


def child_environment() -> dict[str, str]:
    root = str(Path(adbench_harness.__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class TestDownload:
    @pytest.mark.parametrize("sha256", [SHA256, SHA256.upper(), SHA256[:8], SHA256[:13], None])
    @pytest.mark.parametrize("md5", [MD5, None])
    def test_arrives(self, server: Server, target: Path, sha256: str, md5: str | None) -> None:
        download(server.url, target, sha256=sha256, md5=md5)
        assert target.read_bytes() == BODY
        assert {path.name for path in target.parent.iterdir()} <= {target.name, "weights.pth.lock"}

    def test_empty_file(self, server: Server, target: Path) -> None:
        server.body = b""
        download(server.url, target, sha256=hashlib.sha256(b"").hexdigest())
        assert target.read_bytes() == b""

    @pytest.mark.parametrize(
        ("sha256", "md5", "actual"), [("0" * 64, None, SHA256), (SHA256, "0" * 32, MD5)]
    )
    def test_wrong_checksum_leaves_nothing(
        self, server: Server, target: Path, sha256: str, md5: str | None, actual: str
    ) -> None:
        with pytest.raises(UserError, match=f"{actual}, not 0000") as caught:
            download(server.url, target, sha256=sha256, md5=md5)
        assert "\n" not in str(caught.value)
        assert not target.exists()
        assert not part_of(target).exists()

    def test_corrupted_then_right(self, server: Server, target: Path) -> None:
        server.body = BODY[:-1] + b"\0"
        with pytest.raises(UserError, match="run again"):
            download(server.url, target, sha256=SHA256)
        server.body = BODY
        download(server.url, target, sha256=SHA256)
        assert target.read_bytes() == BODY

    @pytest.mark.parametrize("digits", ["", "f37072f", "f37072fg", "f" * 65])
    def test_refuses_what_is_no_checksum(self, server: Server, target: Path, digits: str) -> None:
        with pytest.raises(UserError, match="correct the checksum"):
            download(server.url, target, sha256=digits)
        assert not server.requests

    def test_file_that_is_there_is_only_checked(self, server: Server, target: Path) -> None:
        target.parent.mkdir()
        target.write_bytes(BODY)
        download(server.url, target, sha256=SHA256)
        target.write_bytes(b"mine")
        with pytest.raises(UserError, match="move it away"):
            download(server.url, target, sha256=SHA256)
        assert target.read_bytes() == b"mine"
        assert not server.requests

    def test_progress(self, server: Server, target: Path) -> None:
        seen: list[tuple[int, int | None]] = []
        download(server.url, target, sha256=None, progress=lambda *step: seen.append(step))
        done = [step[0] for step in seen]
        assert {step[1] for step in seen} == {len(BODY)}
        assert done[0] == 0
        assert done[-1] == len(BODY)
        assert done == sorted(done)
        assert len(done) > 10

    def test_chunked_without_length(self, server: Server, target: Path) -> None:
        server.replies = [Reply(chunked=True, cut=100_000), Reply(chunked=True)]
        seen: list[tuple[int, int | None]] = []
        download(server.url, target, sha256=None, progress=lambda *step: seen.append(step))
        assert target.read_bytes() == BODY
        assert seen[-1] == (len(BODY), None)
        assert len(server.requests) == 2

    def test_file_url(self, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fetch, "BACKOFF_SECONDS", -1.0)  # a local file needs no second try
        source = tmp_path / "a source.bin"
        source.write_bytes(BODY)
        download(source.as_uri(), target, sha256=SHA256)
        assert target.read_bytes() == BODY
        with pytest.raises(UserError, match="No such file"):
            download((tmp_path / "absent").as_uri(), tmp_path / "other", sha256=None)

    @pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "data:,x", "weights.pth", ""])
    def test_refuses_other_schemes(self, target: Path, url: str) -> None:
        with pytest.raises(UserError, match="not an http, https or file URL"):
            download(url, target, sha256=None)

    def test_unwritable_destination(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "taken").write_bytes(b"")
        with pytest.raises(UserError, match="not written"):
            download(server.url, tmp_path / "taken" / "weights.pth", sha256=None)

    def test_full_disk_is_noticed_before(
        self, server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usage = shutil.disk_usage(".")._replace(free=len(BODY) - 1)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
        short = f"needs {len(BODY)} more bytes, but {len(BODY) - 1} are free"
        with pytest.raises(UserError, match=short):
            download(server.url, target, sha256=None)
        assert part_of(target).stat().st_size == 0


class TestResume:
    def test_cut_connection(self, server: Server, target: Path) -> None:
        server.replies = [Reply(cut=300_000), Reply()]
        download(server.url, target, sha256=SHA256)
        assert target.read_bytes() == BODY
        assert server.requests[1]["Range"] == "bytes=300000-"
        assert server.requests[1]["If-Range"] == '"one"'
        assert server.sent == len(BODY)

    @settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(cuts=st.lists(st.integers(1, 400_000), max_size=8), ranges=st.booleans())
    def test_any_cuts(self, server: Server, target: Path, cuts: list[int], ranges: bool) -> None:
        # More cuts than RETRIES: only those without gain count; so without ranges, sort them.
        server.replies = [
            *(Reply(cut=cut, ranges=ranges) for cut in (cuts if ranges else sorted(set(cuts)))),
            Reply(ranges=ranges),
        ]
        server.sent = 0
        target.unlink(missing_ok=True)
        download(server.url, target, sha256=None)
        assert target.read_bytes() == BODY
        assert not ranges or server.sent == len(BODY)

    def test_gives_up_then_goes_on(self, server: Server, target: Path) -> None:
        server.replies = [Reply(cut=300_000), Reply(cut=0)]
        with pytest.raises(UserError, match="run the same command again to resume") as caught:
            download(server.url, target, sha256=None)
        assert "300000 of 1000003 bytes" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert len(server.requests) == 1 + fetch.RETRIES
        assert part_of(target).read_bytes() == BODY[:300_000]
        server.replies, server.sent = [Reply()], 0
        download(server.url, target, sha256=None)
        assert target.read_bytes() == BODY
        assert server.sent == len(BODY) - 300_000

    def test_whole_part_needs_no_request(self, server: Server, target: Path) -> None:
        leave_part(server, target, len(BODY))
        download(server.url, target, sha256=SHA256)
        assert target.read_bytes() == BODY
        assert not server.requests

    def test_redirect_keeps_the_range(self, server: Server, target: Path) -> None:
        leave_part(server, target, 300_000)
        server.replies = [Reply(status=302, location="/mirror"), Reply()]
        download(server.url, target, sha256=SHA256)
        assert target.read_bytes() == BODY
        assert server.sent == len(BODY) - 300_000

    @pytest.mark.parametrize("sha256", [SHA256, None])
    def test_server_ignores_range(self, server: Server, target: Path, sha256: str | None) -> None:
        leave_part(server, target, 300_000)
        server.replies = [Reply(ranges=False)]
        download(server.url, target, sha256=sha256)
        assert target.read_bytes() == BODY
        assert len(server.requests) == 1

    @pytest.mark.parametrize(
        "content_range",
        ["bytes 0-1000002/1000003", "bytes 300000-1000002/1000004", "bytes 300001-1000002/*", "?"],
    )
    def test_wrong_content_range_starts_over(
        self, server: Server, target: Path, content_range: str
    ) -> None:
        leave_part(server, target, 300_000)
        server.replies = [Reply(content_range=content_range)]
        download(server.url, target, sha256=None)
        assert target.read_bytes() == BODY
        assert "Range" not in server.requests[1]

    @pytest.mark.parametrize("if_range", [True, False])
    @pytest.mark.parametrize("kind", ["etag", "last_modified"])
    def test_changed_file_starts_over(
        self, server: Server, target: Path, kind: str, if_range: bool
    ) -> None:
        """Also where the server does not know If-Range, but names the other file in its 206."""
        server.etag = None
        setattr(server, kind, "Mon, 01 Jan 2024 00:00:00 GMT")
        leave_part(server, target, 300_000)
        server.body = BODY[::-1]
        setattr(server, kind, "Tue, 02 Jan 2024 00:00:00 GMT")
        server.replies = [Reply(if_range=if_range)]
        download(server.url, target, sha256=None)
        assert target.read_bytes() == BODY[::-1]
        assert server.requests[0]["If-Range"] == "Mon, 01 Jan 2024 00:00:00 GMT"

    def test_shrunken_file_starts_over(self, server: Server, target: Path) -> None:
        leave_part(server, target, 300_000)
        server.body = BODY[:1000]
        server.replies = [Reply(if_range=False)]  # so that it answers 416
        download(server.url, target, sha256=None)
        assert target.read_bytes() == BODY[:1000]

    @pytest.mark.parametrize("etag", [None, 'W/"weak"'])
    @pytest.mark.parametrize("sha256", [SHA256, None])
    def test_without_validator_only_a_checksum_allows_it(
        self, server: Server, target: Path, etag: str | None, sha256: str | None
    ) -> None:
        server.etag = etag
        leave_part(server, target, 300_000)
        download(server.url, target, sha256=sha256)
        assert target.read_bytes() == BODY
        assert ("Range" in server.requests[0]) == (sha256 is not None)
        assert "If-Range" not in server.requests[0]

    def test_another_address_starts_over(self, server: Server, target: Path) -> None:
        leave_part(server, target, 300_000)
        download(server.url + "?v=2", target, sha256=SHA256)
        assert "Range" not in server.requests[0]

    def test_damaged_note_starts_over(self, server: Server, target: Path) -> None:
        leave_part(server, target, 300_000)
        note = Path(f"{part_of(target)}.json")
        note.write_text(note.read_text()[:-5])
        download(server.url, target, sha256=SHA256)
        assert target.read_bytes() == BODY
        assert "Range" not in server.requests[0]


class TestFailingServer:
    @pytest.mark.parametrize("status", [401, 403, 404, 410])
    def test_refusal_is_final(self, server: Server, target: Path, status: int) -> None:
        server.replies = [Reply(status=status)]
        with pytest.raises(UserError, match=f"{status}.*check the address"):
            download(server.url, target, sha256=None)
        assert len(server.requests) == 1

    def test_passing_trouble(self, server: Server, target: Path) -> None:
        server.replies = [*(Reply(status=status) for status in (500, 429, 503)), Reply()]
        download(server.url, target, sha256=SHA256)
        assert target.read_bytes() == BODY

    def test_lasting_trouble(self, server: Server, target: Path) -> None:
        server.replies = [Reply(status=500)]
        with pytest.raises(UserError, match="500"):
            download(server.url, target, sha256=None)
        assert len(server.requests) == 1 + fetch.RETRIES

    @pytest.mark.parametrize("ranges", [True, False])
    def test_promises_too_many_bytes(self, server: Server, target: Path, ranges: bool) -> None:
        server.replies = [Reply(length=1000, ranges=ranges)]
        with pytest.raises(UserError, match="run the same command again"):
            download(server.url, target, sha256=None)
        assert not target.exists()
        assert len(server.requests) <= 2 + fetch.RETRIES

    def test_promises_too_few_bytes(self, server: Server, target: Path) -> None:
        server.replies = [Reply(length=-1000)]
        with pytest.raises(UserError, match="its sha256 is"):
            download(server.url, target, sha256=SHA256)
        assert not target.exists()

    def test_silence(self, server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fetch, "TIMEOUT_SECONDS", 1)
        server.replies = [Reply(stall=3), Reply()]
        download(server.url, target, sha256=SHA256)
        assert len(server.requests) == 2

    def test_nobody_listens(self, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr(fetch, "BACKOFF_SECONDS", 0.0)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
            with pytest.raises(UserError, match="refused"):
                download(f"http://127.0.0.1:{port}/x", target, sha256=None)


class TestProcesses:
    def test_killed_process_is_resumed(self, server: Server, target: Path) -> None:
        server.replies = [Reply(pause=0.05), Reply()]
        with fetch_process(server.url, target) as process:
            wait_for(lambda: part_of(target).exists() and part_of(target).stat().st_size > 200_000)
            process.kill()
        assert process.returncode == -signal.SIGKILL
        kept = part_of(target).stat().st_size
        assert BODY.startswith(part_of(target).read_bytes())
        server.sent = 0
        download(server.url, target, sha256=SHA256)
        assert target.read_bytes() == BODY
        assert 200_000 < kept < len(BODY)
        assert server.requests[1]["Range"] == f"bytes={kept}-"
        assert server.sent <= len(BODY) - kept + (1 << 16)  # the killed one's last piece may count

    def test_two_processes_transfer_once(self, server: Server, target: Path) -> None:
        server.replies = [Reply(pause=0.02)]
        with fetch_process(server.url, target) as one, fetch_process(server.url, target) as two:
            assert [one.wait(60), two.wait(60)] == [0, 0]
        assert target.read_bytes() == BODY
        assert len(server.requests) == 1

    def test_killed_extraction_leaves_nothing_half_done(self, tmp_path: Path) -> None:
        archive = tmp_path / "many.tar"
        with tarfile.open(archive, "w") as tar:
            for index in range(500):
                add(tar, f"{index}.bin", bytes([index % 251]) * 1000)
        code = (
            "import sys, time; from pathlib import Path\n"
            "from adbench_harness.downloads.fetch import extract\n"
            "extract([Path(sys.argv[1])], Path(sys.argv[2]), max_bytes=None, "
            "progress=lambda *step: time.sleep(0.01))"
        )
        folder = tmp_path / "many"
        command = [sys.executable, "-c", code, str(archive), str(folder)]
        with subprocess.Popen(command, env=child_environment()) as process:
            wait_for(lambda: (part_of(folder) / "20.bin").exists())
            process.kill()
        assert process.returncode == -signal.SIGKILL
        assert not folder.exists()
        (part_of(folder) / "stale").touch()
        extract([archive], folder, max_bytes=None)
        assert {path.name for path in folder.iterdir()} == {f"{index}.bin" for index in range(500)}
        assert not part_of(folder).exists()


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


class TestExtract:
    @pytest.mark.parametrize("kind", FORMATS)
    def test_contents(self, tmp_path: Path, kind: str) -> None:
        archive = pack(tmp_path / f"data.{kind}", FILES)
        seen: list[tuple[int, int | None]] = []
        extract(
            [archive], tmp_path / "new" / "data", max_bytes=None, progress=lambda *s: seen.append(s)
        )
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
            extract([pack(tmp_path / f"x.{kind}", {})], tmp_path / kind, max_bytes=None)
            assert list((tmp_path / kind).iterdir()) == []

    def test_tar_that_ends_in_a_zip_is_a_tar(self, tmp_path: Path) -> None:
        inner = pack(tmp_path / "inner.zip", FILES).read_bytes()
        extract([pack(tmp_path / "x.tar", {"in.zip": inner})], tmp_path / "x", max_bytes=None)
        assert contents(tmp_path / "x") == {"in.zip": inner}

    @pytest.mark.parametrize("kinds", [("zip", "zip"), ("tar.gz", "zip"), ("zip", "tar", "tar.xz")])
    def test_several_archives_fill_one_folder(self, tmp_path: Path, kinds: list[str]) -> None:
        packed = {f"Class{i}/train/{i}.png": bytes([i]) * 9 for i in range(len(kinds))}
        archives = [
            pack(tmp_path / f"{name.partition('/')[0]}.{kind}", {name: data})
            for kind, (name, data) in zip(kinds, packed.items(), strict=True)
        ]
        extract(archives, tmp_path / "data", max_bytes=None)
        assert contents(tmp_path / "data") == packed

    @pytest.mark.parametrize("kinds", [("zip", "zip"), ("tar", "zip"), ("zip", "tar")])
    def test_no_archive_overwrites_another_ones_files(
        self, tmp_path: Path, kinds: tuple[str, str]
    ) -> None:
        one = pack(tmp_path / f"one.{kinds[0]}", {"a/0.png": b"one", "a/1.png": b"one"})
        two = pack(tmp_path / f"two.{kinds[1]}", {"b/0.png": b"two", "a/1.png": b"two"})
        with pytest.raises(UserError, match=r"two.*'a/1.png' is also in an earlier archive"):
            extract([one, two], tmp_path / "data", max_bytes=None)
        assert not (tmp_path / "data").exists()

    def test_one_bad_archive_of_several_leaves_nothing(self, tmp_path: Path) -> None:
        good = pack(tmp_path / "good.zip", FILES)
        (tmp_path / "bad.zip").write_bytes(good.read_bytes()[:-30])
        with pytest.raises(UserError, match=r"bad.zip: cannot be unpacked"):
            extract([good, tmp_path / "bad.zip"], tmp_path / "data", max_bytes=None)
        assert not (tmp_path / "data").exists()
        assert not part_of(tmp_path / "data").exists()

    def test_finish_sees_the_folder_before_anybody_else(self, tmp_path: Path) -> None:
        archive = pack(tmp_path / "data.zip", FILES)

        def finish(folder: Path) -> None:
            assert contents(folder) == FILES
            assert not (tmp_path / "data").exists()
            (folder / "sums").write_bytes(b"x")

        extract([archive], tmp_path / "data", max_bytes=None, finish=finish)
        assert contents(tmp_path / "data") == {**FILES, "sums": b"x"}

    def test_full_folder_is_left_and_empty_one_filled(self, tmp_path: Path) -> None:
        archive = pack(tmp_path / "data.zip", FILES)
        (tmp_path / "data").mkdir()
        extract([archive], tmp_path / "data", max_bytes=None)
        assert contents(tmp_path / "data") == FILES
        archive.unlink()
        extract([archive], tmp_path / "data", max_bytes=None)
        assert contents(tmp_path / "data") == FILES

    def test_destination_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "data").write_bytes(b"mine")
        with pytest.raises(UserError, match="Not a directory"):
            extract([pack(tmp_path / "data.zip", FILES)], tmp_path / "data", max_bytes=None)
        assert (tmp_path / "data").read_bytes() == b"mine"

    def test_absent_archive(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="No such file"):
            extract([tmp_path / "absent.zip"], tmp_path / "data", max_bytes=None)

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
        extract([tmp_path / "links.tar"], tmp_path / "links", max_bytes=None)
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
        extract([tmp_path / "x.tar"], tmp_path / "x", max_bytes=None)
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
