from __future__ import annotations

from dataclasses import replace

from adbench_harness.leaderboard.columns import headings
from adbench_harness.leaderboard.frame import measured, select
from adbench_harness.report import facts
from adbench_harness.results.store import Failure, Store
from adbench_harness.results.trial import Weights


def good(results):
    return next(r for r in Store(results).read() if r.trial.model.changed == ("gain",))


def test_each_distinct_value_is_said_once(results):
    first = good(results)
    used = Weights("resnet", 2, sha256="abc", verified=False)
    second = replace(
        first,
        trial=replace(first.trial, weights=(used,)),
        provenance={**first.provenance, "torch": "other", "finished": "today", "notes": ["x"]},
    )
    found = facts.provenance([first, second, first])
    assert found["torch"] == [first.provenance["torch"], "other"]
    assert found["weights"] == ["resnet v2, sha256 abc (not verified)"]
    assert found["evaluation"] == ["maps at native size, border full"]
    assert found["protocol"] == ["unsupervised"]
    assert {"finished", "notes"}.isdisjoint(found)


def test_the_components_are_those_of_the_trial(results):
    kinds = [(kind, choice.name) for kind, choice in facts.choices(good(results))]
    assert kinds == [("model", "toy-mean"), ("scorer", "toy-map"), ("data set", "folder")]


def test_several_categories_have_a_mean(results):
    first = good(results)
    trial = replace(first.trial, category="other")
    second = replace(first, trial=trial, metrics={**first.metrics, "image_auroc": 0.5})
    first = replace(first, metrics={**first.metrics, "image_auroc": 0.9})
    both = [first, second]
    trials = select(both, (), {})
    known = headings(both)
    table = facts.numbers(trials, ["image_auroc"], known)
    assert [row[0] for row in table.rows][-1] == "mean of 2"
    assert [row[1] for row in table.rows][-1] == "70.0"
    failed = replace(second, status="failed", metrics={}, failures=(Failure("fit", "x", "x"),))
    partly = facts.numbers(select([first, failed], (), {}), ["image_auroc"], known)
    assert partly.rows[-1] == ["mean of 2", "90.0 (1/2)"]
    assert partly.notes == ["(1/2): the mean of 1 of 2 categories"]
    alone = select([first], (), {})
    assert len(facts.numbers(alone, measured(alone), known).rows) == 1
