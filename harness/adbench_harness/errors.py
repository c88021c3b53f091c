"""The errors that a user or a plugin author can cause."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LINE = 300
"""Characters of a message that are shown."""


class UserError(Exception):
    """Bad input: one line that names the thing, the reason and the next step (exit code 2)."""


class NotInstalled(UserError):  # noqa: N818  # not a mistake
    """A plugin's optional package is not installed; an error only if the plugin is named."""


class ContractError(Exception):
    """A component broke the contract; its own trials fail, and the run continues."""


def require(package: str) -> None:
    """Raise NotInstalled unless ``package`` is installed, as the extra of that name does."""
    import importlib.util  # imported late, since every command imports this module

    if importlib.util.find_spec(package) is None:
        raise NotInstalled(f"{package} is not installed; pip install 'adbench-harness[{package}]'")


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint for an error message: `` (did you mean 'x'?)``, or an empty string."""
    match = difflib.get_close_matches(name, list(valid), n=1)
    return f" (did you mean '{match[0]}'?)" if match else ""


def said(error: BaseException) -> str:
    """An exception's type and message in one line, shortened if necessary."""
    return line(f"{type(error).__name__}: {message(error)}")


def message(error: BaseException) -> str:
    """An exception's message in one line, shortened if necessary."""
    try:
        return line(str(error)) or "no message"
    except Exception:  # an author's __str__ may fail too
        return "no message"


def printable(text: str) -> str:
    """``text``, in which bytes of a file's name that are not UTF-8 are written as ``\\xe9``."""
    try:
        return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    except UnicodeEncodeError:  # a half of a pair, which no file's name holds
        return text.encode(errors="backslashreplace").decode()


def line(text: str) -> str:
    """``text`` in one line, shortened if necessary."""
    words = " ".join(printable(text[:10_000]).split())
    return words if len(words) <= _LINE else f"{words[: _LINE - 4]} ..."
