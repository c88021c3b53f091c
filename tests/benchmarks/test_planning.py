"""Plans of 600 and of 10,000 trials: under 1 s and under 10 s."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from adbench_harness.images import folders
from adbench_harness.planning import plan, plugins, suite
from adbench_harness.planning.locations import Locations
from adbench_harness.planning.plan import Plan

# 2 categories x 3 chains x 10 models x 2 scorers x 5 seeds, and what grows in the larger ones.
BASE = {"models": 10, "chains": 3, "seeds": 5}
SHAPES = {
    "600": BASE,
    "10,000 of 500 models": {**BASE, "models": 500, "chains": 1},
    "10,000 of 50 seeds": {**BASE, "chains": 5, "seeds": 50},
}


@pytest.fixture
def planned(toys: str) -> Callable[..., Plan]:
    """A plan of PatchCore with so many sizes of its coreset, chains of filters, and seeds."""
    names = ["patchcore", "bgfilter", toys]
    catalogue = plugins.load(names)

    def make(models: int, chains: int, seeds: int) -> Plan:
        sizes = [number / (2 * models) for number in range(1, models + 1)]
        content = {
            "plugins": names,
            "datasets": "toy-data",
            "preprocessors": ["none", *[f"mean:size={2 * n + 3}" for n in range(chains - 1)]],
            "models": [{"name": "patchcore", "coreset_ratio": sizes}],
            "scorers": "nn,knn-mean",
            "backbone": "embedded",
            "seeds": seeds,
        }
        return plan.make(suite.validate(content, "test"), catalogue, Locations())

    return make


@pytest.mark.benchmark(group="plan")
@pytest.mark.parametrize("shape", SHAPES)
def test_plan(benchmark: Any, planned: Callable[..., Plan], shape: str) -> None:
    made = benchmark.pedantic(planned, kwargs=SHAPES[shape], rounds=3, warmup_rounds=1)
    count = int(shape.partition(" ")[0].replace(",", ""))
    assert len({trial.id for trial in made.trials}) == count
    assert benchmark.stats.stats.min < count / 1_000 + 0.4


def test_600_trials_are_planned_in_3_seconds(planned: Callable[..., Plan]) -> None:
    """A bound for a machine that does other things too."""
    start = time.process_time()
    made = planned(**BASE)
    assert len(made.trials) == 600
    assert time.process_time() - start < 3


COUNTING = """
from collections import Counter
from toys import ToyAugmenter, ToyData, ToyPreprocessor, ToyScorer, ToyTrained

built, listed = Counter(), Counter()

class Data(ToyData):
    name = "data"
    def __init__(self, *, number: int = 0): built["dataset", number] += 1
    def samples(self, root, category, split_seed):
        listed[category, split_seed] += 1
        return super().samples(root, category, split_seed)

class Preprocessor(ToyPreprocessor):
    name = "preprocessor"
    def __init__(self, *, number: int = 0): built["preprocessor", number] += 1

class Augmenter(ToyAugmenter):
    name = "augmenter"
    def __init__(self, *, number: int = 0): built["augmenter", number] += 1

class Model(ToyTrained):
    name = "model"
    def __init__(self, *, number: int = 0): built["model", number] += 1

class Scorer(ToyScorer):
    name = "scorer"
    def __init__(self, *, number: int = 0): built["scorer", number] += 1

@hookimpl
def adbench_datasets(): return [Data]
@hookimpl
def adbench_preprocessors(): return [Preprocessor]
@hookimpl
def adbench_augmenters(): return [Augmenter]
@hookimpl
def adbench_models(): return [Model]
@hookimpl
def adbench_scorers(): return [Scorer]
"""


def test_each_component_is_built_once_and_each_category_listed_once(
    plugin_file: Callable[[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = plugin_file("counting", COUNTING)
    catalogue = plugins.load([path])
    module = catalogue.manager.get_plugin("counting")
    fingerprints: Counter[str] = Counter()

    def fingerprint(root: Any, samples: Any) -> str:
        fingerprints[samples[0].image.parts[-4]] += 1
        return "0" * 16

    monkeypatch.setattr(folders, "fingerprint", fingerprint)
    content = {
        "plugins": [path],
        "datasets": "data,data/dark",
        "preprocessors": "none,preprocessor,preprocessor:number=1,preprocessor+preprocessor",
        "augmenters": "augmenter:number=[0,1]",
        "models": "model:number=[1,2],model:number=2",
        "scorers": "scorer:number=[0,1]",
        "overrides": {"light": {"model.number": 7}},
        "seeds": 3,
        "split_seeds": 2,
    }
    made = plan.make(suite.validate(content, "test"), catalogue, Locations())
    # 4 chains x 2 augmenters x 2 models (light: 1) x 2 scorers x 6 pairs of seeds
    assert len(made.trials) == 4 * 2 * (2 + 1) * 2 * 6
    assert module.built == {
        ("dataset", 0): 1,
        **{("preprocessor", number): 1 for number in (0, 1)},
        **{("augmenter", number): 1 for number in (0, 1)},
        **{("model", number): 1 for number in (1, 2, 7)},
        **{("scorer", number): 1 for number in (0, 1)},
    }
    assert module.listed == {(c, seed): 1 for c in ("dark", "light") for seed in (0, 1)}
    assert fingerprints == {"dark": 2, "light": 2}


def test_a_run_builds_its_own(plugin_file: Callable[[str, str], str]) -> None:
    """What a plan built is nobody's afterwards."""
    path = plugin_file("counting", COUNTING)
    catalogue = plugins.load([path])
    asked = suite.validate({"plugins": [path], "preprocessors": "none"}, "test")
    first = plan.make(asked, catalogue, Locations())
    second = plan.make(asked, catalogue, Locations())
    assert [t.id for t in first.trials] == [t.id for t in second.trials]
    built = catalogue.manager.get_plugin("counting").built
    assert built == dict.fromkeys([(k, 0) for k in ("dataset", "augmenter", "model", "scorer")], 2)
