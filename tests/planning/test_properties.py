"""The planner, for any suite of the toys."""

from __future__ import annotations

import json
import math
import random
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from adbench_harness.planning import plan, plugins, suite
from adbench_harness.planning.locations import Locations
from adbench_harness.results.trial import Trial

TOYS = str(Path(__file__).parent.with_name("toys.py"))
SEEDS = st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True)


def some(*alternatives: Any) -> st.SearchStrategy[list[Any]]:
    """One or more of the alternatives of an axis."""
    return st.lists(
        st.sampled_from(alternatives), min_size=1, max_size=len(alternatives), unique_by=str
    )


SUITES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "plugins": st.just([TOYS]),
        "datasets": some("toy-data/dark", "toy-data/light"),
        "preprocessors": some("none", "toy-dim", {"name": "toy-dim", "factor": 0.25}),
        "augmenters": st.just(["none"]),
        "models": some(
            "toy-mean", {"gain": [2, 3], "name": "toy-mean", "layers": ["b", "a"]}, "toy-wrapper"
        ),
        "scorers": some("toy-map", "toy-fitted"),
        "metrics": some("image_auroc", "aupro"),
        "seeds": SEEDS,
        "split_seeds": SEEDS,
    },
    optional={
        "shots": st.lists(st.integers(1, 3), min_size=1, max_size=2, unique=True),
        "shot_seeds": SEEDS,
        "evaluation": st.sampled_from([{"size": 20}, {"border": "crop", "size": 30}]),
        "set": st.just({"toy-map.pool": "mean"}),
    },
)
few = settings(max_examples=25)


@cache
def loaded() -> plugins.Catalogue:
    return plugins.load([TOYS])


def planned(content: dict[str, Any]) -> plan.Plan:
    if "toy-map" not in content["scorers"]:
        content = {key: value for key, value in content.items() if key != "set"}
    return plan.make(suite.validate(content, "test"), loaded(), Locations(), device="cpu")


def ids(made: plan.Plan) -> set[str]:
    return {trial.id for trial in made.trials}


def shuffled(value: Any, seed: int) -> Any:
    """The same content with its keys in another order."""
    if isinstance(value, dict):
        keys = list(value)
        random.Random(seed).shuffle(keys)
        return {key: shuffled(value[key], seed) for key in keys}
    return [shuffled(item, seed) for item in value] if isinstance(value, list) else value


@few
@given(SUITES)
def test_a_plan_depends_on_nothing_but_its_suite(content: dict[str, Any]) -> None:
    before = json.dumps(content)
    first = planned(content)
    random.seed(1)
    assert planned(content) == first
    assert json.dumps(content) == before, "the suite is left alone"


@few
@given(SUITES)
def test_every_trial_is_planned_once(content: dict[str, Any]) -> None:
    made = planned(content)
    assert len(ids(made)) == len(made.trials)
    bundled = [trial.id for bundle in made.bundles for trial in bundle.trials]
    assert sorted(bundled) == sorted(ids(made))
    models = sum(2 if isinstance(model, dict) else 1 for model in content["models"])
    axes = ("datasets", "preprocessors", "scorers", "seeds", "split_seeds")
    shots = len(content["shots"]) * len(content.get("shot_seeds", [0])) if "shots" in content else 1
    assert len(made.trials) == models * shots * math.prod(len(content[axis]) for axis in axes)


@few
@given(SUITES, st.integers(0, 99))
def test_the_order_of_keys_changes_nothing(content: dict[str, Any], seed: int) -> None:
    assert planned(shuffled(content, seed)) == planned(content)


@few
@given(SUITES, st.sampled_from(["datasets", "preprocessors", "models", "scorers", "seeds"]))
def test_the_order_and_the_company_of_alternatives_change_no_id(
    content: dict[str, Any], axis: str
) -> None:
    content = {key: value for key, value in content.items() if key != "set"}
    whole = ids(planned(content))
    assert ids(planned({**content, axis: content[axis][::-1]})) == whole
    parts = [ids(planned({**content, axis: [one]})) for one in content[axis]]
    assert set().union(*parts) == whole
    assert sum(map(len, parts)) == len(whole)


@few
@given(SUITES)
def test_a_trial_survives_json_in_any_order(content: dict[str, Any]) -> None:
    for trial in planned(content).trials:
        again = Trial.from_json(shuffled(json.loads(json.dumps(asdict(trial))), 3))
        assert again == trial
        assert again.id == trial.id
