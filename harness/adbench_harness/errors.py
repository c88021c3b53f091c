"""The errors that a user or a plugin author can cause."""

from __future__ import annotations

import difflib
import errno
import signal
from collections.abc import Iterable
from unicodedata import category

_LINE = 300
"""Characters of a message that are shown."""


class UserError(Exception):
    """Bad input: one line that names the thing, the reason and the next step (exit code 2)."""


class NotInstalled(UserError):  # noqa: N818  # not a mistake
    """A plugin's optional package is not installed; an error only if the plugin is named."""


class ContractError(Exception):
    """A component broke the contract; its own trials fail, and the run continues."""


class Interrupted(KeyboardInterrupt):
    """The user, or the system, ended the run with a signal of this number, during ``what``."""

    def __init__(self, number: int, what: str = "") -> None:
        super().__init__(number, what)
        self.number = number
        self.what = what


def interrupted(error: BaseException) -> bool:
    """Whether the user ended the run; an author's code may raise KeyboardInterrupt as well."""
    handler = signal.getsignal(signal.SIGINT)
    own = isinstance(error, KeyboardInterrupt) and handler is signal.default_int_handler
    return own or isinstance(error, Interrupted)


def require(package: str) -> None:
    """Raise NotInstalled unless ``package`` is installed, as the extra of that name does."""
    import importlib.util  # imported late, since every command imports this module

    if importlib.util.find_spec(package) is None:
        raise NotInstalled(f"{package} is not installed; pip install 'adbench-harness[{package}]'")


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint for an error message: `` (did you mean 'x'?)``, or an empty string."""
    match = difflib.get_close_matches(name, list(valid), n=1)
    return f" (did you mean '{match[0]}'?)" if match else ""


def no_room(error: BaseException) -> bool:
    """Whether the disk, or the user's share of it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def said(error: BaseException) -> str:
    """An exception's type and message in one line, shortened if necessary."""
    return line(f"{type(error).__name__}: {message(error)}")


def message(error: BaseException) -> str:
    """An exception's message in one line, shortened if necessary."""
    try:
        return line(str(error)) or "no message"
    except BaseException as failure:  # an author's __str__ may fail too
        if interrupted(failure):
            raise
        return "no message"


def reason(error: BaseException) -> str:
    """As ``said``, without the type if the error is the harness's own, whose message says all."""
    return message(error) if isinstance(error, ContractError | UserError) else said(error)


def printable(text: str) -> str:
    """``text``, in which bytes of a file's name that are not UTF-8 are written as ``\\xe9``."""
    try:
        return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    except UnicodeEncodeError:  # a half of a pair, which no file's name holds
        return text.encode(errors="backslashreplace").decode()


def line(text: str) -> str:
    """``text`` in one line, shortened if necessary, without characters that act on a terminal."""
    words = " ".join(clean(text[:10_000]).split())
    return words if len(words) <= _LINE else f"{words[: _LINE - 4]} ..."


def clean(text: str) -> str:
    """``printable(text)`` with a sign in place of each character that acts on a terminal."""
    return "".join(
        # Python calls every space but the plain one unprintable.
        c if c.isprintable() or c in "\n\t" or category(c) == "Zs" else "\N{REPLACEMENT CHARACTER}"
        for c in printable(text)
    )
