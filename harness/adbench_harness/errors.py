"""The errors that a user or a plugin author can cause."""

from __future__ import annotations


class UserError(Exception):
    """Bad input: one line that names the thing, the reason and the next step (exit code 2)."""


class ContractError(Exception):
    """A component broke the contract; recorded as its own trials' failure, never the run's."""
