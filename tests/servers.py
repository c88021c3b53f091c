"""A server on this machine that serves, cuts off, corrupts and lies, as it is told."""

from __future__ import annotations

import random
import re
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

BODY = random.Random(0).randbytes(1_000_003)


@dataclass(frozen=True)
class Reply:
    """How the server answers; the defaults are a server that does everything right."""

    status: int | None = None
    cut: int | None = None  # close the connection after so many bytes of the body
    length: int = 0  # added to Content-Length
    ranges: bool = True
    if_range: bool = True
    content_range: str | None = None
    chunked: bool = False
    location: str | None = None
    stall: float = 0.0  # seconds before the body
    pause: float = 0.0  # seconds between pieces of the body
    raw: bytes | None = None  # the whole answer, byte by byte as it is
    endless: bytes = b""  # sent after it again and again, until the client leaves
    reset: bool = False  # end the connection with RST


@dataclass
class Server:
    """What is served, what each request in turn gets (the last reply stays), what was asked."""

    url: str = ""
    body: bytes = field(default=BODY, repr=False)
    bodies: dict[str, bytes] = field(default_factory=dict, repr=False)  # by path; else the body
    etag: str | None = '"one"'
    last_modified: str | None = None
    replies: list[Reply] = field(default_factory=lambda: [Reply()])
    requests: list[dict[str, str]] = field(default_factory=list)
    sent: int = 0


class Handler(BaseHTTPRequestHandler):
    state: Server

    def do_GET(self) -> None:
        state = self.state
        body = state.bodies.get(self.path, state.body)
        state.requests.append({name.title(): value for name, value in self.headers.items()})
        reply = state.replies.pop(0) if len(state.replies) > 1 else state.replies[0]
        self.close_connection = True
        if reply.raw is not None:
            self.send_raw(reply)
            return
        start, status = 0, reply.status or 200
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        same = condition in (None, state.etag, state.last_modified) or not reply.if_range
        if asked and reply.ranges and same and status == 200:
            start = int(asked[1])
            status = 206 if start < len(body) else 416
        self.send_response(status)
        if status in (200, 206):
            self.send_validators_and_body(state, body, reply, start, status)
        else:
            if reply.location:
                self.send_header("Location", reply.location)
            self.end_headers()

    def send_raw(self, reply: Reply) -> None:
        with suppress(OSError):
            self.wfile.write(reply.raw or b"")
            while reply.endless:
                self.wfile.write(reply.endless)
                time.sleep(reply.pause)
        if reply.reset:
            self.connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def send_validators_and_body(
        self, state: Server, whole: bytes, reply: Reply, start: int, status: int
    ) -> None:
        size = len(whole)
        for name, value in (("ETag", state.etag), ("Last-Modified", state.last_modified)):
            if value:
                self.send_header(name, value)
        if status == 206:
            right = f"bytes {start}-{size - 1}/{size}"
            self.send_header("Content-Range", reply.content_range or right)
        if reply.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(size - start + reply.length))
        self.end_headers()
        time.sleep(reply.stall)
        body = whole[start:] if reply.cut is None else whole[start : start + reply.cut]
        step = 1 << 15
        try:
            for at in range(0, len(body), step):
                piece = body[at : at + step]
                state.sent += len(piece)  # before the client can have it, so that tests may read it
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if reply.chunked else piece)
                time.sleep(reply.pause)
            if reply.chunked and reply.cut is None:
                self.wfile.write(b"0\r\n\r\n")
        except OSError:
            return

    def log_message(self, *args: Any, **kwargs: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    """A server that listens while the context lasts; any path gets an answer."""
    state = Server()
    handler = type("BoundHandler", (Handler,), {"state": state, "protocol_version": "HTTP/1.1"})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        state.url = f"http://127.0.0.1:{httpd.server_address[1]}/weights.pth"
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        httpd.shutdown()
        thread.join()
