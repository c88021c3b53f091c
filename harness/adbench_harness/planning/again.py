"""Plans a stored trial again, from its own record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from adbench_harness.errors import UserError
from adbench_harness.planning.axes import Axes
from adbench_harness.planning.components import Components
from adbench_harness.planning.grammar import Wanted
from adbench_harness.planning.locations import Locations
from adbench_harness.planning.pipelines import Pipelines
from adbench_harness.planning.plan import Plan
from adbench_harness.planning.plugins import BASIC, Catalogue
from adbench_harness.planning.suite import Suite
from adbench_harness.results.differences import changed_materials, changed_values
from adbench_harness.results.store import Failure, TrialResult
from adbench_harness.results.trial import FLOAT32, NONE, Bundle, Choice, Trial

MOST_THREADS = 4096
"""No machine has more; a record with a larger number was changed."""


def plugins(stored: TrialResult, given: Sequence[str] = ()) -> list[str]:
    """The plugins that a record names, or those ``given`` instead; raises UserError."""
    if given:
        return list(given)
    named = stored.provenance.get("plugins")
    if not isinstance(named, Mapping):
        raise UserError(
            f"the record of {stored.trial.id} does not name its plugins; name them with --plugins"
        )
    for name, origin in named.items():
        file = str(origin).partition(" ")[0]
        if file.endswith(".py"):
            raise UserError(
                f"plugin '{name}' of {stored.trial.id} is the file {file}, whose folder a record "
                "does not have; name all of the trial's plugins with --plugins"
            )
    return [name for name in named if name != BASIC]


def threads(stored: TrialResult) -> int:
    """The threads that the trial computed with; raises UserError if the record lacks them."""
    count = stored.provenance.get("threads")
    if not isinstance(count, int) or not 1 <= count <= MOST_THREADS:
        raise UserError(
            f"the record of {stored.trial.id} lacks a possible number of threads, which changes "
            "the last digits; it cannot be repeated"
        )
    return count


def suite(trial: Trial, plugins: Sequence[str]) -> Suite:
    """The suite whose only trial is ``trial``."""
    half = any(used.precision != FLOAT32 for used in trial.weights)
    checked = Suite.model_validate(
        {
            "plugins": list(plugins),
            "metrics": [name.partition("@")[0] for name in trial.metrics],
            "protocol": trial.protocol,
            "seeds": [trial.seed],
            "split_seeds": [trial.split_seed],
            "shots": trial.shots,
            "shot_seeds": [trial.shot_seed],
            "validation": trial.validation,
            "unified": trial.unified,
            "precision": "bfloat16" if half else FLOAT32,
            "evaluation": asdict(trial.evaluation),
        }
    )
    data = Wanted(f"{trial.dataset.name}/{trial.category}", _written(trial.dataset))
    scorers = None if trial.scorer.name == NONE else _axis([trial.scorer])
    return checked.model_copy(
        update={
            "datasets": [[data]],
            "preprocessors": _axis(trial.preprocessors),
            "augmenters": _axis([trial.augmenter] if trial.augmenter else []),
            "models": _axis([trial.model]),
            "scorers": scorers,
        }
    )


def _axis(chain: Iterable[Choice]) -> list[list[Wanted]]:
    return [[Wanted(choice.name, _written(choice)) for choice in chain]]


def _written(choice: Choice) -> dict[str, Any]:
    """The parameters as a suite has them, where a list is a grid of values."""
    return {name: [v] if isinstance(v, list) else v for name, v in choice.params.items()}


def located(stored: Trial, suite: Suite, catalogue: Catalogue, locations: Locations) -> Trial:
    """The trial with the paths of its weights on this machine.

    Raises UserError if they are not found or are others, or if a plugin's file has changed.
    """
    own = {name.partition("@")[0]: name for name in catalogue.files}
    for name in stored.files:
        plugin = name.partition("@")[0]
        if own.get(plugin, name) != name:
            raise UserError(
                f"the file of plugin '{plugin}' has changed since {stored.id} was run; run its "
                "suite again"
            )
    pipelines = Pipelines(suite, Axes(suite, Components(catalogue)), locations)
    (pipeline,) = pipelines.all()
    found = replace(stored, weights=pipelines.weights(pipeline.model))
    if others := [*changed_materials(stored, found)]:
        raise UserError(
            f"{stored.id} was made with others, {', '.join(others)}; name the right ones with "
            "--weights"
        )
    return found


def bundle(stored: Trial, plan: Plan) -> Bundle | Failure:
    """The bundle that repeats ``stored``, or the failure with which it cannot be planned.

    Raises UserError if the plan's images, weights or parameters are others.
    """
    if len(plan.trials) != 1:
        raise UserError(
            f"the record of {stored.id} does not say which scorer was used; run its suite again"
        )
    (planned,) = plan.trials
    if planned.id in plan.failed:
        return plan.failed[planned.id]
    # The images come first: on others, nothing else can be the same.
    if others := [*changed_materials(stored, planned)]:
        raise UserError(
            f"{stored.id} was measured on others, {', '.join(others)}; name the right folders with "
            "--data and --weights"
        )
    if others := [*changed_values(stored, planned)] or [*changed_values(planned, stored)]:
        raise UserError(
            f"{stored.id} cannot be repeated: its components have other parameters now "
            f"({', '.join(others)}); run its suite again"
        )
    (found,) = plan.bundles
    return found
