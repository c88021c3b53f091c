from __future__ import annotations

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
        ([], "plot needs either --x PARAM or --curves"),
        (["--x", "size", "--curves"], "plot needs either --x PARAM or --curves"),
        (["--x", "color"], "no axis 'color'"),
        (["--x", "size", "--only", "model"], "--only 'model' is not COLUMN=VALUE"),
    ],
)
def test_mistakes_are_one_line(results, error, tmp_path, asked, line):
    assert line in error("plot", results, *asked, "--by", "model", "-o", tmp_path / "a.svg")
    assert not (tmp_path / "a.svg").exists()
