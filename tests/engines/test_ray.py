"""A Ray cluster of several nodes on this machine, one of which is killed while it works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adbench_harness.engines.inline import Inline
from adbench_harness.engines.ray import SHARED, Ray
from adbench_harness.planning import plan, suite
from adbench_harness.planning.locations import Locations
from adbench_harness.results.store import TrialResult
from adbench_harness.results.trial import Bundle
from adbench_harness.running.bundle import load

ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")

SLOW = """
import os, time
from pathlib import Path
from typing import ClassVar
from toys import ToyModel

class Slow(ToyModel):
    '''Notes where it runs, and takes its time.'''
    name: ClassVar[str] = "slow"
    def __init__(self, *, number: int = 0, note: str = "") -> None:
        self.gain = 1.0 + number
        self.note = note
    def fit(self, train, tools):
        with open(self.note, "a") as file:
            file.write(f"{self.gain:.0f}\\n")
        time.sleep(1.5)
        return super().fit(train, tools)

@hookimpl
def adbench_models():
    return [Slow]
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    yield made
    ray.shutdown()
    made.shutdown()


def identity(bundle: Bundle) -> Bundle:
    return bundle


def nothing(*_: object) -> None:
    pass


def comparable(result: TrialResult) -> tuple[object, ...]:
    auroc = {name: value for name, value in result.metrics.items() if name.endswith("auroc")}
    return result.trial.id, result.status, auroc, result.images["score"].tolist()


def test_a_lost_node_costs_nothing_that_has_arrived(
    cluster: Any, toys: str, plugin_file: Any, tmp_path: Path
) -> None:
    note = tmp_path / "fits"
    keys = {
        "plugins": [toys, plugin_file("slow", SLOW)],
        "datasets": "toy-data",
        "preprocessors": "none",
        "augmenters": "none",
        "models": "slow",
        "scorers": "toy-map",
        "metrics": ["image_auroc", "pixel_auroc"],
        "set": {"slow.number": [0, 1, 2, 3, 4], "slow.note": str(note)},
    }
    checked = suite.validate(keys, "test")
    bundles = plan.make(checked, load(tuple(checked.plugins)), Locations(), device="cpu").bundles
    assert [len(bundle.trials) for bundle in bundles] == [5, 5]

    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    found: list[TrialResult] = []
    for result in Ray(cluster.address)(bundles, identity, nothing):
        found.append(result)
        if len(found) == 3:
            before = len(note.read_text().split())
            cluster.remove_node(nodes[0], allow_graceful=False)
            cluster.add_node(num_cpus=1)
    wanted = [trial.id for bundle in bundles for trial in bundle.trials]
    assert sorted(result.trial.id for result in found) == sorted(wanted)
    assert all(SHARED in result.flags for result in found)
    # A trial that had begun on the lost node begins again; the three that had arrived do not.
    assert len(note.read_text().split()) - before <= len(wanted) - 3

    note.unlink()
    expected = list(Inline()(bundles, identity, nothing))
    assert sorted(map(comparable, found)) == sorted(map(comparable, expected))


def test_a_trial_that_ends_its_process_is_recorded_and_the_others_go_on(
    cluster: Any, toys: str
) -> None:
    import misbehaving

    deeds = ["segfault", "none", "os-exit-0"]
    keys = {
        "plugins": [toys, str(Path(misbehaving.__file__))],
        "datasets": "toy-data/dark",
        "preprocessors": "none",
        "augmenters": "none",
        "models": "bad",
        "scorers": "toy-map",
        "set": {"bad.deed": deeds},
    }
    checked = suite.validate(keys, "test")
    (bundle,) = plan.make(checked, load(tuple(checked.plugins)), Locations(), device="cpu").bundles
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    found = {
        str(result.trial.model.params["deed"]): [failure.message for failure in result.failures]
        for result in Ray(cluster.address, workers=1)([bundle], identity, nothing)
    }
    assert found == {
        "segfault": ["the trial's process was killed by SIGSEGV"],
        "none": [],
        "os-exit-0": ["the trial's process ended with exit code 0"],
    }
