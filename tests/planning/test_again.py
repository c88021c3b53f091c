"""A record becomes the suite of its trial, whatever the trial's settings are."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from adbench_harness.errors import UserError
from adbench_harness.planning import again, plan, plugins, suite
from adbench_harness.planning.locations import Locations
from adbench_harness.results.store import Failure, TrialResult
from adbench_harness.results.trial import Choice, Trial, Weights

PROBES = str(Path(__file__).parent.with_name("probes.py"))
SUITES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "chains, augmenters, grids, and seeds": {
        "preprocessors": "none,toy-dim:factor=0.25+toy-dim",
        "augmenters": "none,toy-square:side=[4,6]",
        "models": "toy-mean,toy-trained",
        "seeds": [3, 5],
        "split_seeds": [2],
    },
    "a component as a parameter": {"models": "toy-wrapper"},
    "a backbone and a list of layers": {
        "plugins": ["patchcore"],
        "models": "patchcore:layers=[layer1,layer2]",
        "backbone": "embedded",
    },
    "half precision": {
        "plugins": ["patchcore"],
        "models": "patchcore",
        "precision": "bfloat16",
        "backbone": "embedded",
    },
    "few shots": {"shots": [1, 2], "shot_seeds": [4], "validation": 0.25},
    "one model for all categories": {"unified": True, "datasets": "toy-data"},
    "classes": {"protocol": "classification", "models": "toy-classes"},
    "another evaluation": {"evaluation": {"size": 20, "border": "crop"}, "metrics": ["aupro"]},
}


def planned(content: dict[str, Any], toys: str) -> tuple[tuple[str, ...], plan.Plan]:
    usual = {"datasets": "toy-data/dark", "preprocessors": "none", "augmenters": "none"}
    usual |= {"models": "toy-mean"}
    names = [toys, PROBES, *content.get("plugins", [])]
    checked = suite.validate(usual | content | {"plugins": names}, "test")
    return tuple(names), plan.make(checked, plugins.load(names), Locations(), device="cpu")


@pytest.mark.parametrize("name", SUITES)
def test_a_record_plans_its_own_trial(name: str, toys: str) -> None:
    names, made = planned(SUITES[name], toys)
    assert made.trials
    catalogue = plugins.load(names)
    for trial in made.trials:
        # As the store has it.
        weights = tuple(replace(used, path=None) for used in trial.weights)
        stored = json.loads(json.dumps(asdict(replace(trial, weights=weights))))
        record = Trial.from_json(stored)
        repeated = plan.make(again.suite(record, names), catalogue, Locations(), device="cpu")
        (bundle,) = [again.bundle(record, repeated)]
        assert not isinstance(bundle, Failure)
        assert [one.id for one in bundle.trials] == [trial.id]


def test_a_value_for_one_category_is_that_of_the_record(toys: str) -> None:
    names, made = planned({"overrides": {"dark": {"toy-mean.gain": 2.0}}}, toys)
    (trial,) = made.trials
    found = plan.make(again.suite(trial, names), plugins.load(names), Locations(), device="cpu")
    bundle = again.bundle(trial, found)
    assert not isinstance(bundle, Failure)
    assert bundle.trials[0].model.params["gain"] == 2.0


@pytest.fixture
def made(toys: str) -> plan.Plan:
    return planned({}, toys)[1]


def test_what_was_another_trial_is_refused(made: plan.Plan) -> None:
    (trial,) = made.trials
    others: dict[str, Trial] = {
        "images of toy-data/dark": replace(trial, fingerprint="0" * 16),
        "other parameters now .gain of toy-mean: 3 ": replace(
            trial, model=replace(trial.model, params={**trial.model.params, "gain": 3})
        ),
        "other parameters now": replace(trial, model=replace(trial.model, params={})),
        "backbone: net": replace(trial, weights=(Weights("net", 1),)),
    }
    for said, other in others.items():
        with pytest.raises(UserError, match=said):
            again.bundle(other, made)
    assert again.bundle(trial, made) == made.bundles[0]


def test_a_version_does_not_make_another_trial(made: plan.Plan) -> None:
    (trial,) = made.trials
    older = replace(trial, model=replace(trial.model, version=0))
    assert again.bundle(older, made) == made.bundles[0]


def test_a_failure_of_planning_is_returned(made: plan.Plan) -> None:
    (trial,) = made.trials
    failure = Failure("plan", "broken", "")
    assert again.bundle(trial, replace(made, failed={trial.id: failure})) == failure


def test_a_record_without_a_scorer_is_refused(made: plan.Plan) -> None:
    (trial,) = made.trials
    unknown = replace(trial, scorer=Choice("none", 0))
    assert again.suite(unknown, ["any"]).scorers is None
    with pytest.raises(UserError, match="does not say which scorer"):
        again.bundle(unknown, replace(made, trials=(trial, trial)))


def test_the_plugins_and_threads_of_a_record(made: plan.Plan) -> None:
    (trial,) = made.trials
    named = {"basic": "adbench-harness 1", "padim": "adbench-harness 1"}
    record = TrialResult(trial, "ok", provenance={"plugins": named, "threads": 3})
    assert again.plugins(record) == ["padim"]
    assert again.plugins(record, ["mine.py"]) == ["mine.py"]
    assert again.threads(record) == 3
    for lacking in ({}, {"plugins": {"mine": "mine.py ab12"}}):
        with pytest.raises(UserError, match="--plugins"):
            again.plugins(replace(record, provenance=lacking))
    with pytest.raises(UserError, match="threads"):
        again.threads(replace(record, provenance={}))
