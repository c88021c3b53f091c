from __future__ import annotations

import errno
import gzip
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import adbench_harness
from adbench_harness.downloads import fetch
from adbench_harness.downloads.fetch import download
from adbench_harness.errors import UserError
from servers import BODY, Reply, Server, serving

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
        assert not part_of(target).exists()


class TestResume:
    def test_more_cuts_than_tries(self, server: Server, target: Path) -> None:
        """Only the failures without progress are counted."""
        server.replies = [*[Reply(cut=100_000)] * (2 * fetch.RETRIES), Reply()]
        download(server.url, target, sha256=SHA256)
        assert target.read_bytes() == BODY

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
    def test_any_cuts(
        self,
        server: Server,
        target: Path,
        monkeypatch: pytest.MonkeyPatch,
        cuts: list[int],
        ranges: bool,
    ) -> None:
        monkeypatch.setattr(fetch, "RETRIES", 8)
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


def answer(status: str = "200 OK", body: bytes = b"", **fields: object) -> bytes:
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + body


def redirect(location: str) -> Reply:
    return Reply(status=302, location=location)


MEGABYTE = bytes(1 << 20)
HOSTILE: dict[str, tuple[Reply, str]] = {
    "redirects to ftp": (redirect("ftp://127.0.0.1:1/x"), "redirected to ftp://127.0.0.1:1/x, ref"),
    "redirects to a file": (
        redirect("file:///etc/passwd"),
        "url 'file:///etc/passwd' is not allowed",
    ),
    "redirects to data": (redirect("data:,x"), "url 'data:,x' is not allowed"),
    "redirects to a host that does not answer": (redirect("http://127.0.0.1:1/x"), "refused"),
    "redirects to no address": (redirect("http://["), "Invalid IPv6 URL"),
    "redirects to a name with control characters": (redirect("http://a\x1b[2Jb/"), "."),
    "redirects for ever": (redirect("/weights.pth"), "infinite loop"),
    "redirects nowhere": (Reply(status=302), "302"),
    "sends escape sequences in the status": (Reply(raw=answer("404 \x1b[2J\x1b]0;x\x07")), "404"),
    "sends no status": (Reply(raw=b"\x1b[2Jhello\r\n\r\n"), "hello"),
    "sends nothing": (Reply(raw=b""), "closed connection without response"),
    "sends too many headers": (
        Reply(raw=b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200),
        "got more than 100 headers",
    ),
    "sends a header without an end": (
        Reply(raw=b"HTTP/1.1 200 OK\r\nA: ", endless=MEGABYTE.replace(b"\0", b"x")),
        "got more than 65536 bytes",
    ),
    "resets the connection": (Reply(raw=b"", reset=True), "reset|closed"),
    "says 404": (Reply(status=404), "HTTP Error 404"),
    "says 416 to a request for the whole": (Reply(status=416), "HTTP Error 416"),
    "says 500": (Reply(status=500), "HTTP Error 500"),
    "says 204": (Reply(raw=answer("204 No Content")), "answered with status 204"),
    "sends a range to a request for the whole": (
        Reply(raw=answer("206 Partial", b"x", Content_Range="bytes 5-5/9", Content_Length=1)),
        "another range",
    ),
    "sends fewer bytes than it says": (
        Reply(raw=answer(body=b"x" * 99, Content_Length=100)),
        r"ended after 99 of 100 bytes.*\(99 bytes are kept\)",
    ),
    "says a length that no disk has": (
        Reply(raw=answer(body=b"x", Content_Length=10**18)),
        "needs 1000000000000000000 more bytes",
    ),
    "says a length of 5,000 digits": (Reply(raw=answer(Content_Length="9" * 5000)), "its sha256"),
    "says a length below zero": (Reply(raw=answer(body=b"x", Content_Length=-1)), "its sha256 is"),
    "sends chunks that are none": (
        Reply(raw=answer(Transfer_Encoding="chunked", body=b"zzz\r\nabc")),
        "IncompleteRead|invalid literal",
    ),
    "sends without an end": (Reply(raw=answer(), endless=MEGABYTE), "without saying how many"),
    "says Continue for ever": (
        Reply(raw=b"", endless=b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.01),
        "closed connection without response",
    ),
    "sends one byte of the headers at a time": (
        Reply(raw=b"HTTP/1.1 200 OK\r\nA: ", endless=b"x", pause=0.02),
        "the headers did not come in",
    ),
    "sends one byte at a time": (
        Reply(raw=answer(Content_Length=10**6), endless=b"x", pause=0.02),
        "fewer than 65536 bytes came in",
    ),
    "sends one byte in each answer": (
        Reply(cut=1),
        r"ended after \d of 1000003 bytes.*\(\d bytes are kept\)",
    ),
    "packs the body": (
        Reply(raw=answer(body=gzip.compress(BODY), Content_Encoding="gzip")),
        "its sha256 is",
    ),
    "sends another file": (Reply(raw=answer(body=b"another")), f"its sha256 is .*, not {SHA256}"),
    "sends a page": (Reply(raw=answer(body=b"<html>log in", Content_Type="text/html")), "sha256"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_server_gets_one_line_and_leaves_only_a_part_to_resume(
    server: Server, target: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "SLOW_SECONDS", 0.2)
    room = shutil.disk_usage(".")._replace(free=fetch.RESERVE + (20 << 20))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: room)
    reply, reason = HOSTILE[kind]
    server.replies = [reply]
    with pytest.raises(UserError, match=reason) as caught:
        download(server.url, target, sha256=SHA256)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600
    left = {path.name for path in target.parent.iterdir()} - {f"{target.name}.lock"}
    assert left == (
        {f"{target.name}.part", f"{target.name}.part.json"}
        if "kept)" in str(caught.value) and "(0 bytes" not in str(caught.value)
        else set()
    )
    # The next try gets what there is.
    server.replies = [Reply()]
    download(server.url, target, sha256=SHA256)
    assert target.read_bytes() == BODY


def test_a_server_may_lead_to_another_one(server: Server, target: Path) -> None:
    with serving() as mirror:
        server.replies = [redirect(mirror.url)]
        download(server.url, target, sha256=SHA256)
    assert target.read_bytes() == BODY


def test_https_does_not_lead_to_http() -> None:
    follow = fetch._Redirects().redirect_request
    old = Request("https://a/x")
    assert follow(old, None, 302, "Found", {}, "https://b/x") is not None
    with pytest.raises(HTTPError, match="redirected to http://b/x, refused"):
        follow(old, None, 302, "Found", {}, "http://b/x")


@pytest.mark.parametrize("note", ["[]", "[" * 10_000, '{"total": "x"}', '"', "\0"])
def test_a_wrong_note_starts_over(server: Server, target: Path, note: str) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(b"x" * 10)
    Path(f"{part_of(target)}.json").write_text(note)
    download(server.url, target, sha256=SHA256)
    assert target.read_bytes() == BODY


def test_a_full_disk_asks_for_room(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(fetch, "_request", full)
    with pytest.raises(UserError, match=r"No space left on device\); make room, and the same"):
        download(server.url, target, sha256=SHA256)


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
