from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from adbench_harness.cli import main
from adbench_harness.results.store import Store, TrialResult
from adbench_harness.results.trial import Choice, EvaluationSettings, Trial
from headings import columns


@pytest.fixture
def results(tmp_path):
    """A folder of results: one model at two sizes, with a curve."""
    store = Store(tmp_path / "results")
    for size in (3, 5):
        trial = Trial(
            dataset=Choice("mini", 1),
            category="brick",
            fingerprint="f",
            protocol="unsupervised",
            split_seed=0,
            preprocessors=(),
            augmenter=None,
            model=Choice("patchcore", 1, {"size": size}, ("size",)),
            scorer=Choice("nn", 1),
            weights=(),
            seed=0,
            evaluation=EvaluationSettings(),
            metrics=("image_auroc@1",),
        )
        curves = {"loss": np.linspace(1, 0.1, 10)}
        metrics = {"image_auroc": size / 10}
        store.write(
            TrialResult(trial, "ok", metrics=metrics, columns=columns(metrics), curves=curves)
        )
    return store.root


@pytest.mark.parametrize(
    ("asked", "title"),
    [(["--x", "size"], "image AUROC by size"), (["--curves"], "loss during training")],
)
def test_it_draws_a_file_and_prints_how_a_page_shows_it(results, tmp_path, capsys, asked, title):
    output = tmp_path / "drawn.svg"
    assert main(["plot", str(results), *asked, "--by", "model", "-o", str(output)]) == 0
    assert capsys.readouterr().out == f"![{title}]({output})\n"
    assert b"<svg" in output.read_bytes()


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ([], "plot needs either --x NAME or --curves"),
        (["--x", "size", "--curves"], "plot needs either --x NAME or --curves"),
        (["--x", "color"], "no axis, parameter or metric 'color'"),
        (["--x", "color"], ", or a metric or cost (image_auroc)"),
        (["--x", "image_aurok"], "(did you mean 'image_auroc'?)"),
        (["--x", "size", "--y", "image_auro"], "(did you mean 'image_auroc'?)"),
        (["--x", "size", "--only", "model"], "--only 'model' is not COLUMN=VALUE"),
    ],
)
def test_mistakes_are_one_line(results, error, tmp_path, asked, line):
    assert line in error("plot", results, *asked, "--by", "model", "-o", tmp_path / "a.svg")
    assert not (tmp_path / "a.svg").exists()


def test_accuracy_against_cost_has_a_front(results, tmp_path, capsys):
    store = Store(results)
    for result, cost in zip(list(store.read()), (3.0, 90.0), strict=True):
        metrics = {**result.metrics, "ms_per_image": cost, "aupro": 0.5}
        store.write(replace(result, metrics=metrics, columns=columns(metrics)))
    output = tmp_path / "a.svg"
    axes = ["--x", "ms_per_image", "--y", "image_auroc,aupro"]
    assert main(["plot", str(results), *axes, "-o", str(output)]) == 0
    title = "image AUROC, AUPRO against ms/image; filled points are on the Pareto front"
    assert capsys.readouterr().out == f"![{title}]({output})\n"
    assert b"<svg" in output.read_bytes()


def test_costs_of_two_data_sets_are_not_one_plot(results, error, tmp_path):
    store = Store(results)
    first = next(store.read())
    store.write(replace(first, trial=replace(first.trial, dataset=Choice("own", 1))))
    asked = ("--x", "image_auroc", "--y", "image_auroc", "-o", tmp_path / "a.svg")
    assert "are on 2 data sets (mini, own)" in error("plot", results, *asked)
