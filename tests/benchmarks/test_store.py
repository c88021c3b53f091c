"""From stored trials to a rendered board: 10,000 in under 5 s, and no more each than of 1,000."""

from __future__ import annotations

import json
import timeit
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from adbench_harness import leaderboard
from adbench_harness.results.store import SCHEMA, Store
from adbench_harness.results.trial import Trial

BOARD = Path(__file__).parents[2] / "leaderboards" / "bottle" / "results"
CATEGORIES, SEEDS, SCORERS = 10, 10, 5


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Store]:
    """A store of that many copies of a real result, each with an id and numbers of its own."""
    path = min((BOARD / "trials").glob("*.json"))
    content = json.loads(path.read_text())
    real = Trial.from_json(content["trial"])
    noise = np.random.default_rng(0)

    def fill(count: int) -> Store:
        store = Store(tmp_path_factory.mktemp(f"store{count}"))
        store.trials.mkdir()
        for number in range(count):
            rest, category = divmod(number, CATEGORIES)
            rest, seed = divmod(rest, SEEDS)
            model, scorer = divmod(rest, SCORERS)
            trial = replace(
                real,
                category=f"category {category}",
                seed=seed,
                model=replace(real.model, name=f"model {model}"),
                scorer=replace(real.scorer, name=f"scorer {scorer}"),
            )
            metrics = {n: v * noise.uniform(0.9, 1) for n, v in content["metrics"].items()}
            changed = {"schema": SCHEMA, "id": trial.id, "trial": asdict(trial), "metrics": metrics}
            text = json.dumps(content | changed, indent=1)
            (store.trials / f"{trial.id}.json").write_text(text)
        return store

    return fill


def rendered(store: Store) -> str:
    return leaderboard.render(store.read())


def by_pandas(store: Store) -> str:
    """The same means, read and grouped by libraries alone: no check, no rank, no layout."""
    contents = [json.loads(path.read_bytes()) for path in store.trials.glob("*.json")]
    table = pd.json_normalize(contents)
    values = [name for name in table if name.startswith("metrics.")]
    keys = ["trial.model.name", "trial.scorer.name"]
    per_category = table.groupby([*keys, "trial.category"])[values].mean()
    return per_category.groupby(level=keys).mean().to_string()


def test_10000_trials_are_shown_in_5_seconds(
    race: Callable[..., Any], filled: Callable[[int], Store]
) -> None:
    few, many = filled(1_000), filled(10_000)
    ours, theirs = race(
        "10,000 stored trials to a board",
        lambda: rendered(many),
        "json and pandas: parse, group, print",
        lambda: by_pandas(many),
    )
    assert "model 19" in " ".join(ours.split())
    assert "model 19" in theirs
    assert best(many) < 5
    assert best(many) < 12 * best(few)


def best(store: Store) -> float:
    """Seconds, the best of three."""
    return min(timeit.repeat(lambda: rendered(store), number=1, repeat=3))
