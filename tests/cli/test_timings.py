from __future__ import annotations

import json
import re

import pytest

from adbench_harness.cli import main
from adbench_harness.results.store import Store


@pytest.fixture
def results(toys, tmp_path, capsys):
    options = ("--models", "toy-mean", "--scorers", "toy-map,toy-fitted", "--device", "cpu")
    assert main(["run", "--plugins", toys, *options, "--out", str(tmp_path / "results")]) == 0
    capsys.readouterr()
    return tmp_path / "results"


def cells(text):
    """By stage: seconds taken, if alone, and saved."""
    rows = re.findall(r"^(\w[\w ]*?) +([\d.]+) +\d+% +([\d.]+) +(-?[\d.]+)$", text, re.MULTILINE)
    return {stage: tuple(map(float, values)) for stage, *values in rows}


def test_the_stages_add_up_to_the_run_and_sharing_to_what_it_saved(results, capsys):
    assert main(["timings", str(results)]) == 0
    text = capsys.readouterr().out
    stages = cells(text)
    total = stages.pop("total")
    assert {"load", "preprocess", "fit", "predict", "score", "cost", "metrics"} < set(stages)
    assert list(stages)[-2:] == ["store", "other"]
    stored = list(Store(results).read())
    assert total[0] == pytest.approx(sum(sum(r.seconds_shared.values()) for r in stored), abs=0.01)
    for column in range(3):
        added = sum(values[column] for values in stages.values())
        assert total[column] == pytest.approx(added, abs=0.1)
    for took, alone, saved in stages.values():
        assert saved == pytest.approx(alone - took, abs=0.011)
    # Two scorers share every fit.
    assert stages["fit"][1] == pytest.approx(2 * stages["fit"][0], abs=0.011)
    assert stages["score"][2] == pytest.approx(0, abs=0.011)
    assert f"{len(stored)} trials." in text


def test_a_process_says_it_without_torch(adbench, results):
    done = adbench("timings", results)
    assert done.code == 0, done.err
    assert "torch" not in done.heavy


def test_results_without_times_are_left_out(results, capsys, error):
    first, *others = sorted((results / "trials").glob("*.json"))

    def age(path):
        content = json.loads(path.read_text())
        content["seconds_shared"] = {}
        path.write_text(json.dumps(content))

    age(first)
    assert main(["timings", str(results)]) == 0
    said = capsys.readouterr()
    assert "left out: 1 results without timings" in said.err
    assert f"{len(others)} trials." in said.out
    for path in others:
        age(path)
    assert "has timings; run the suite again" in error("timings", results)
    assert "no results in 'none'" in error("timings", "none")
