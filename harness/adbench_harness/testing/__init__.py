"""Conformance checks: small named tests of what the contract requires of every component.

In a plugin's tests::

    from adbench_harness.testing import parametrize_with_checks

    @parametrize_with_checks([MyModel, MyScorer])
    def test_conformance(component, check):
        check(component)

The class attribute ``xfail = {"check": "reason"}`` declares a check that the component cannot pass.
``check_parameters = {"epochs": 1}`` are parameters that make the component quick to check.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from adbench_harness.basic.scorers import MapScorer, OwnScorer, SoftmaxScorer
from adbench_harness.errors import ContractError, UserError, nearest
from adbench_harness.planning import declarations, parameters
from adbench_harness.planning.grammar import Wanted
from adbench_harness.planning.plugins import Catalogue
from adbench_harness.testing.augmenters import CHECKS as AUGMENTER
from adbench_harness.testing.backbones import CHECKS as BACKBONE
from adbench_harness.testing.common import Check, Skipped, make
from adbench_harness.testing.datasets import CHECKS as DATASET
from adbench_harness.testing.metrics import CHECKS as METRIC
from adbench_harness.testing.models import CHECKS as MODEL
from adbench_harness.testing.preprocessors import CHECKS as PREPROCESSOR
from adbench_harness.testing.scorers import CHECKS as SCORER
from adbench_harness.types import Metric

__all__ = ["Check", "Outcome", "Skipped", "check", "checks", "make", "parametrize_with_checks"]

_BASIC_SCORERS = (MapScorer, OwnScorer, SoftmaxScorer)


@dataclass(frozen=True)
class Outcome:
    """The outcome of one check of one component; ``text`` describes it."""

    component: str
    check: str
    text: str
    failed: bool = False


def checks(component: Any, scorers: Sequence[Any] = ()) -> Iterator[tuple[str, Check]]:
    """The checks of a component by name; ``scorers`` score the planted defects of a model."""
    kind = kind_of(component)
    yield "says_what_it_is", _says_what_it_is
    if kind != "metric":
        yield "declares_what_it_means", _declares_what_it_means
        yield "constructs_without_arguments", _constructs_without_arguments
    for name, check in _CHECKS[kind].items():
        if kind == "model" and name == "planted_blob_scores_above_normal":
            yield name, partial(check, scorers=[*scorers, *_BASIC_SCORERS])
        else:
            yield name, check


def parametrize_with_checks(components: Iterable[Any]) -> Any:
    """A ``pytest.mark.parametrize`` over (component, check); declared failures become xfails."""
    import pytest

    components = [c if isinstance(c, Metric) else _completed(c) for c in components]
    scorers = _judges(components)
    cases = []
    for component in [whole(component, components) for component in components]:
        reasons = {} if isinstance(component, Metric) else component.xfail
        for name, check in checks(component, scorers):
            declared = name in reasons
            marks = [pytest.mark.xfail(reason=reasons[name], strict=True)] if declared else ()
            cases.append(
                pytest.param(
                    component, _skipping(check), id=f"{component.name}-{name}", marks=marks
                )
            )
    return pytest.mark.parametrize(("component", "check"), cases)


def _completed(component: type) -> type:
    return declarations.completed(kind_of(component), component)


def whole(component: Any, components: Iterable[Any]) -> Any:
    """``component``; if its parameters are components, they are taken from ``components``."""
    try:
        known = {} if isinstance(component, Metric) else parameters.parameters(component)
    except ContractError:
        return component  # a check will report the error
    if not any(parameter.kind for parameter in known.values()):
        return component
    beside = _Beside(components)

    def built(_: type, **given: Any) -> Any:
        choice = parameters.resolve(beside, kind_of(component), Wanted(component.name, given))
        return parameters.build(beside, kind_of(component), choice)

    return type(component.__name__, (component,), {"__new__": built})


class _Beside:
    """Components by kind and name, with the ``get`` of a catalogue."""

    def __init__(self, components: Iterable[Any]) -> None:
        self._known = {(kind_of(c), c.name): c for c in components}

    def get(self, kind: str, name: str) -> Any:
        if (kind, name) not in self._known:
            raise Skipped(f"it needs {kind} {name}, which is not among the components")
        return self._known[kind, name]


def _judges(components: Iterable[Any]) -> list[Any]:
    """The scorers among ``components`` that a run uses by default."""
    return [c for c in components if kind_of(c) == "scorer" and c.default]


def _skipping(check: Check) -> Check:
    def run(component: Any) -> None:
        import pytest

        try:
            check(component)
        except Skipped as reason:
            pytest.skip(str(reason))
        except Exception as error:
            error.add_note(f"checked with {_parameters(component)}")
            raise

    return run


def _parameters(component: Any) -> str:
    """The parameters that a component is checked with, as text."""
    given = {} if isinstance(component, Metric) else component.check_parameters
    return ", ".join(f"{key}={value!r}" for key, value in given.items()) or "its defaults"


def check(name: str, catalogue: Catalogue) -> list[Outcome]:
    """Run the checks of a component ``[kind:]name``, or of all components of a plugin."""
    offers = [o for by_name in catalogue.offers.values() for o in by_name.values()]
    kind, _, short = name.rpartition(":")
    chosen = [o for o in offers if o.plugin == name or (o.name == short and kind in ("", o.kind))]
    if not chosen:
        known = [*catalogue.plugins, *(o.name for o in offers)]
        raise UserError(
            f"no plugin or component '{name}'{nearest(name, known)}; 'adbench list --components' "
            "lists them"
        )
    components = [offer.component for offer in offers if offer.kind != "recipe"]
    scorers = _judges(components)
    return [
        _outcome(component, f"{offer.kind} {offer.name}", check_name, function)
        for offer in chosen
        if offer.kind != "recipe"
        for component in [whole(offer.component, components)]
        for check_name, function in checks(component, scorers)
    ]


def _outcome(component: Any, label: str, name: str, function: Check) -> Outcome:
    reason = None if isinstance(component, Metric) else component.xfail.get(name)
    try:
        function(component)
    except Skipped as skipped:
        return Outcome(label, name, f"skipped: {skipped}")
    except Exception as error:
        if reason:
            return Outcome(label, name, f"fails as declared: {reason}")
        message = str(error).strip().splitlines()
        said = f"{type(error).__name__}: {message[0] if message else ''}"
        text = f"FAILED: {said} (checked with {_parameters(component)})"
        return Outcome(label, name, text, failed=True)
    if reason:
        return Outcome(
            label, name, "FAILED: it passes, but xfail declares that it fails", failed=True
        )
    return Outcome(label, name, "ok")


def kind_of(component: Any) -> str:
    """The kind of a component class or value."""
    return "metric" if isinstance(component, Metric) else declarations.kind_of(component)


def _says_what_it_is(component: Any) -> None:
    for name, kind in (("name", str), ("summary", str), ("version", int)):
        value = getattr(component, name)
        assert isinstance(value, kind), f"{name} is {value!r}, not of type {kind.__name__}"
        assert value != "", f"{name} is empty; give it a value"
    if not isinstance(component, Metric):
        paper = component.paper
        assert paper is None or isinstance(paper, str), f"paper is {paper!r}, not a string or None"


def _declares_what_it_means(component: Any) -> None:
    kind = kind_of(component)
    declarations.check_class(kind, component)
    declarations.check_instance(kind, make(component))


def _constructs_without_arguments(component: Any) -> None:
    parameters.parameters(component)
    component()


_CHECKS: Mapping[str, Mapping[str, Any]] = {
    "dataset": DATASET,
    "preprocessor": PREPROCESSOR,
    "augmenter": AUGMENTER,
    "model": MODEL,
    "scorer": SCORER,
    "metric": METRIC,
    "backbone": BACKBONE,
}
