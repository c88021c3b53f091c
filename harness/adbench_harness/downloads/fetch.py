"""Downloads files: the only module that uses the network."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from os import SEEK_END
from pathlib import Path
from typing import Any, BinaryIO
from urllib.error import HTTPError
from urllib.request import (
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    Request,
    build_opener,
)

from filelock import FileLock

from adbench_harness.errors import UserError, message, no_room

DownloadProgress = Callable[[int, int | None], None]
"""Called with the bytes done (fewer after a restart) and the total, or None if unknown."""

TIMEOUT_SECONDS = 30.0
RETRIES = 3
SLOW_SECONDS = 60.0
"""Time in which the headers, and then every CHUNK bytes, must arrive."""
RESERVE = 1 << 30
"""Bytes of the disk that a file of unknown length leaves free."""
BACKOFF_SECONDS = 1.0
CHUNK = 1 << 16


def download(
    url: str,
    destination: Path,
    *,
    sha256: str | None,
    md5: str | None = None,
    progress: DownloadProgress | None = None,
) -> None:
    """Fetch an http, https or file URL; a file that already exists is only checked.

    Bytes are written to `destination.part`, from which an interrupted download resumes;
    `destination` appears only when it is complete and verified. Checksums are hexadecimal and may
    be prefixes of 8 or more digits, as in the file names of torchvision's weights. Processes that
    fetch the same file wait for each other. Raises UserError if the download fails.
    """
    if not url.startswith(("http://", "https://", "file://")):
        raise UserError(f"{url}: not an http, https or file URL; correct the address")
    hashes = {"sha256": sha256, "md5": md5}
    for name, digits in hashes.items():
        if digits is not None and not re.fullmatch("[0-9a-fA-F]{8,64}", digits):
            raise UserError(f"{url}: {digits!r} is not a valid {name}; correct the checksum")
    part, note = Path(f"{destination}.part"), Path(f"{destination}.part.json")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{destination}.lock"):
            if destination.exists():
                if wrong := _mismatch(destination, hashes):
                    raise UserError(f"{destination}: {wrong}; move it away and run again")
                return
            try:
                with part.open("ab") as file:
                    _complete(url, file, note, any(hashes.values()), progress)
            except BaseException:
                if not part.stat().st_size:  # nothing to resume from
                    part.unlink()
                    note.unlink(missing_ok=True)
                raise
            if wrong := _mismatch(part, hashes):
                part.unlink()
                note.unlink()
                raise UserError(f"{url}: {wrong}; the download was deleted; run again to repeat it")
            part.replace(destination)
            note.unlink()
    except OSError as error:
        step = "make room" if no_room(error) else "fix this"
        raise UserError(
            f"{destination}: not written ({error}); {step}, and the same command goes on"
        ) from error


def check(path: Path, *, sha256: str | None, md5: str | None = None) -> None:
    """Raise UserError if a file that was downloaded by hand has another checksum."""
    if wrong := _mismatch(path, {"sha256": sha256, "md5": md5}):
        raise UserError(f"{path}: {wrong}; download it again")


def sha256(path: Path) -> str:
    """The file's sha256, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _complete(
    url: str, file: BinaryIO, note: Path, checked: bool, progress: DownloadProgress | None
) -> None:
    """Repeat requests until the file is complete; only failures without CHUNK more bytes count."""
    failures, furthest = 0, file.seek(0, SEEK_END)
    while True:
        try:
            return _request(url, file, note, checked, progress)
        except (OSError, HTTPException, ValueError) as error:  # ValueError: a wrong redirect
            if no_room(error):
                raise
            code = error.code if isinstance(error, HTTPError) else None
            if code == 416:  # the server's file is shorter than ours
                file.truncate(0)
            size = file.seek(0, SEEK_END)
            gained = size >= furthest + CHUNK
            failures, furthest = (1, size) if gained else (failures + 1, furthest)
            hopeless = url.startswith("file:") or (
                code and code < 500 and code not in (408, 416, 429)
            )
            if hopeless or failures > RETRIES:
                raise UserError(
                    f"{url}: {message(error)}; check the address and the connection, then run the "
                    f"same command again to resume ({size} bytes are kept)"
                ) from error
        time.sleep(BACKOFF_SECONDS * 2 ** (failures - 1))


def _request(
    url: str, file: BinaryIO, note: Path, checked: bool, progress: DownloadProgress | None
) -> None:
    """Download the rest of the file, or start over if the server has another file."""
    known = _noted(note)
    total, validator = known.get("total"), known.get("validator")
    done = file.seek(0, SEEK_END)
    headers, content_range = {"User-Agent": "adbench"}, ""
    # Without a checksum, only the server knows whether the file is still the same.
    if done and total and known.get("url") == url and (validator or checked):
        if done == total:
            return
        content_range = f"bytes {done}-{total - 1}/{total}"
        headers["Range"] = f"bytes={done}-"
        if validator:
            headers["If-Range"] = validator
    opener = build_opener(_Redirects, _Http, _Https)
    with opener.open(Request(url, headers=headers), timeout=TIMEOUT_SECONDS) as response:
        found = _validator(response.headers)
        if response.status not in (None, 200, 206):  # None: a file URL
            raise ConnectionError(f"the server answered with status {response.status}")
        if response.status != 206:
            file.truncate(done := 0)
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() and len(length) < 20 else None
            note.write_text(json.dumps({"url": url, "total": total, "validator": found}))
        elif response.headers["Content-Range"] != content_range or found not in (None, validator):
            file.truncate(0)
            raise ConnectionError("the server sent another range or another file")
        free = shutil.disk_usage(note.parent).free
        if total is not None and total - done > free:
            raise UserError(
                f"{url}: needs {total - done} more bytes, but {free} are free; make room, run again"
            )
        since, seen = time.monotonic(), done
        while True:
            if progress:
                progress(done, total)
            if not (chunk := response.read1(CHUNK)):
                break
            done += file.write(chunk)
            if total is None and done > free - RESERVE:
                file.truncate(0)
                raise UserError(
                    f"{url}: sent {done} bytes without saying how many there are, and the disk has "
                    "no room for more; check the address, or make room and run again"
                )
            if done >= seen + CHUNK:
                since, seen = time.monotonic(), done
            elif time.monotonic() > since + SLOW_SECONDS:
                raise ConnectionError(f"fewer than {CHUNK} bytes came in {SLOW_SECONDS:g} s")
    if total is not None and done != total:
        raise ConnectionError(f"the connection ended after {done} of {total} bytes")


class _Prompt:
    """A connection on which an answer's headers come in SLOW_SECONDS or not at all."""

    sock: socket.socket
    _late = False

    def getresponse(self) -> Any:
        timer = threading.Timer(SLOW_SECONDS, self._leave)
        timer.daemon = True
        timer.start()
        try:
            response = super().getresponse()  # type: ignore[misc]
        finally:
            timer.cancel()
        if self._late:  # what came may look like the whole
            raise ConnectionError(f"the headers did not come in {SLOW_SECONDS:g} s")
        return response

    def _leave(self) -> None:
        self._late = True
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


def _prompt(http_class: Any) -> Any:
    return type("Prompt", (_Prompt, http_class), {})


class _Http(HTTPHandler):
    def do_open(self, http_class: Any, req: Request, **arguments: Any) -> Any:
        return super().do_open(_prompt(http_class), req, **arguments)


class _Https(HTTPSHandler):
    def do_open(self, http_class: Any, req: Request, **arguments: Any) -> Any:
        return super().do_open(_prompt(http_class), req, **arguments)


class _Redirects(HTTPRedirectHandler):
    """Follows a server to another http or https address, but never from https to http."""

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        if not newurl.lower().startswith(("https://", f"{req.type}://")):
            raise HTTPError(req.full_url, code, f"redirected to {newurl}, refused", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _noted(note: Path) -> dict[str, Any]:
    """What is known of an interrupted download; empty if nothing is, or the note is damaged."""
    try:
        known = json.loads(note.read_text())
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}


def _validator(headers: Any) -> str | None:
    """The value of If-Range: a strong ETag, or else the date (RFC 9110, 13.1.5)."""
    etag: str | None = headers["ETag"]
    return etag if etag and not etag.startswith("W/") else headers["Last-Modified"]


def _mismatch(path: Path, hashes: dict[str, str | None]) -> str | None:
    for name, expected in hashes.items():
        if expected is not None:
            with path.open("rb") as file:
                new = partial(hashlib.new, name, usedforsecurity=False)
                actual = hashlib.file_digest(file, new).hexdigest()
            if not actual.startswith(expected.lower()):
                return f"its {name} is {actual}, not {expected}"
    return None
