"""The terminal: everything that commands print passes here, without what would act on it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import IO, TYPE_CHECKING, Any, cast

from adbench_harness.errors import clean

if TYPE_CHECKING:
    from rich.console import Console

BOLD, PLAIN = "\x1b[1m", "\x1b[0m"
"""The only sequences that a command's text may have; they can do no harm."""
_ALLOWED = re.compile(r"(\x1b\[[01]m)")


class Cleaned:
    """A stream to which only clean text is written; everything else is that of ``stream``."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        parts = _ALLOWED.split(text)
        parts[::2] = map(clean, parts[::2])
        self.stream.write("".join(parts))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def cleaned() -> Iterator[None]:
    """Clean what is written to stdout and stderr."""
    out, err = cast(Any, Cleaned(sys.stdout)), cast(Any, Cleaned(sys.stderr))
    with redirect_stdout(out), redirect_stderr(err):
        yield


def console() -> Console:
    """Rich's view of stderr, for progress bars; texts must be cleaned before it gets them."""
    from rich.console import Console  # imported only when there is something to show

    return Console(file=sys.stderr.stream if isinstance(sys.stderr, Cleaned) else sys.stderr)
