"""Files that a user asked a command to write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from adbench_harness.errors import UserError, no_room

if TYPE_CHECKING:
    from adbench_harness.results.store import Store


def check_outside(path: Path, store: Store) -> None:
    """Raise UserError if ``path`` is among the stored results, which it might replace."""
    if path.resolve().is_relative_to(store.trials.resolve()):
        raise UserError(f"'{path}' is among the stored results; name another place")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an error of the file system into one of the user, about ``path``."""
    try:
        yield
    except OSError as error:
        step = "make room, and the same command goes on" if no_room(error) else "name another"
        raise UserError(f"'{path}' cannot be written: {error.strerror}; {step}") from None


def write(path: Path, content: str | bytes) -> None:
    """Write a file and its folders; on a full disk, no part of it stays. Raises UserError."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        except OSError as error:
            if no_room(error) and path.is_file():
                path.unlink()
            raise
