"""The components of a plan; each choice is built and checked once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from adbench_harness.errors import ContractError, UserError, interrupted
from adbench_harness.planning import declarations, grammar, parameters, witness
from adbench_harness.planning.plugins import Catalogue
from adbench_harness.results.store import Failure
from adbench_harness.results.trial import Choice

STAGE = "plan"


class BrokenError(ContractError):
    """A component failed while the plan was made; trials that need it fail with ``failure``."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@contextmanager
def guarded(what: str = "") -> Iterator[None]:
    """Raise BrokenError for any error of an author's code except UserError.

    ``what`` is named if it ends the process or hangs, as ``witness.during`` explains.
    """
    try:
        with witness.during(what) if what else nullcontext():
            yield
    except (UserError, BrokenError):
        raise
    except BaseException as error:
        if interrupted(error):
            raise
        raise BrokenError(Failure.of(STAGE, error)) from error


class Components:
    """A catalogue's components as one plan sees them; a run builds its own instances."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._built: dict[tuple[str, Choice], Any] = {}
        self._failures: dict[tuple[str, Choice], Failure] = {}

    def parameters(self, kind: str, name: str) -> Mapping[str, parameters.Parameter] | None:
        """The constructor's parameters by name; None if they cannot be read."""
        try:
            with guarded(self._planning(kind, name)):
                return parameters.parameters(self.catalogue.get(kind, name))
        except BrokenError:
            return None

    def resolve(self, kind: str, wanted: grammar.Wanted) -> Choice:
        """``wanted`` with every parameter, or with none if its class is broken.

        Raises UserError for a mistake of the user.
        """
        try:
            with guarded(self._planning(kind, wanted.name)):
                component = self.catalogue.get(kind, wanted.name)
                declarations.check_class(kind, component)
                return parameters.resolve(self.catalogue, kind, wanted)
        except BrokenError as error:
            offer = self.catalogue.offers[kind].get(wanted.name)
            choice = Choice(wanted.name, offer.component.version if offer else 0)
            self.fail(kind, choice, error.failure)
            return choice

    def get(self, kind: str, choice: Choice) -> Any:
        """The component of ``choice``, the same instance each time.

        Raises BrokenError if it cannot be built or breaks the contract, and UserError for a value
        that its constructor rejects.
        """
        key = kind, choice
        if key in self._failures:
            raise BrokenError(self._failures[key])
        if key not in self._built:
            try:
                with guarded(self._planning(kind, choice.name)):
                    built = parameters.build(self.catalogue, kind, choice)
                    declarations.check_instance(kind, built)
            except BrokenError as error:
                self.fail(kind, choice, error.failure)
                raise
            self._built[key] = built
        return self._built[key]

    def _planning(self, kind: str, name: str) -> str:
        return f"the planning of {self.catalogue.title(kind, name)}"

    def is_broken(self, kind: str, choice: Choice) -> bool:
        """Whether ``get`` raises BrokenError."""
        try:
            self.get(kind, choice)
        except BrokenError:
            return True
        return False

    def fail(self, kind: str, choice: Choice, failure: Failure) -> None:
        """Mark ``choice`` as broken."""
        self._failures[kind, choice] = failure
