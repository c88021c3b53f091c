from __future__ import annotations

import pytest

from adbench_harness.results.store import Store
from adbench_harness.results.trial import Choice, EvaluationSettings, Trial
from headings import columns

TEXT = """# Board

<!-- adbench leaderboard results --rows category -->
anything
<!-- end -->

Words stay.
"""


@pytest.fixture
def board(tmp_path):
    from adbench_harness.results.store import TrialResult

    trial = Trial(
        dataset=Choice("mini", 1),
        category="brick",
        fingerprint="f",
        protocol="unsupervised",
        split_seed=0,
        preprocessors=(),
        augmenter=None,
        model=Choice("patchcore", 1, {"size": 3}, ("size",)),
        scorer=Choice("nn", 1),
        weights=(),
        seed=0,
        evaluation=EvaluationSettings(),
        metrics=("image_auroc@1",),
    )
    Store(tmp_path / "results").write(
        TrialResult(trial, "ok", metrics={"image_auroc": 0.5}, columns=columns(["image_auroc"]))
    )
    (tmp_path / "README.md").write_text(TEXT)
    return tmp_path


def test_blocks_are_filled_and_words_stay(adbench, board):
    done = adbench("fill", board)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{board}/README.md: filled\n"
    text = (board / "README.md").read_text()
    assert "anything" not in text
    assert "| brick      |" in text
    assert "Words stay." in text
    assert "unchanged" in adbench("fill", board / "README.md").out
    assert (board / "README.md").read_text() == text


def test_a_plot_is_drawn_beside_the_page(adbench, board):
    block = "<!-- adbench plot results --x size --by model -o size.svg -->\n<!-- end -->\n"
    (board / "README.md").write_text(block)
    assert adbench("fill", board).code == 0
    assert "![image AUROC by size](size.svg)" in (board / "README.md").read_text()
    assert (board / "size.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no block", "has no block to fill"),
        (
            "<!-- adbench run --plugins x -->\n<!-- end -->",
            "cannot fill a block; only leaderboard, plot",
        ),
        ("<!-- adbench leaderboard results --rows hue -->\n<!-- end -->", "no axis 'hue'"),
        ("<!-- adbench plot results -o a.svg -->\n<!-- end -->", "either --x NAME or --curves"),
    ],
)
def test_mistakes_are_one_line(error, board, text, message):
    (board / "README.md").write_text(text)
    assert message in error("fill", board)
    assert (board / "README.md").read_text() == text


def test_a_file_that_is_not_there(error, tmp_path):
    assert "cannot be read" in error("fill", tmp_path / "none.md")
