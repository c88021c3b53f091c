"""The errors that a user or a plugin author can cause."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterable


class UserError(Exception):
    """Bad input: one line that names the thing, the reason and the next step (exit code 2)."""


class ContractError(Exception):
    """A component broke the contract; recorded as its own trials' failure, never the run's."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint for an error message: `` (did you mean 'x'?)``, or nothing."""
    match = difflib.get_close_matches(name, list(valid), n=1)
    return f" (did you mean '{match[0]}'?)" if match else ""


def said(error: BaseException) -> str:
    """An exception's type and message in one line of bearable length."""
    return textwrap.shorten(f"{type(error).__name__}: {error}", 300, placeholder=" ...")
