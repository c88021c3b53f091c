"""The committed boards: valid suites, results that load, tables that say what the results do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from adbench_harness.cli import fill
from adbench_harness.planning import suite
from adbench_harness.results.store import Store

ROOT = Path(__file__).parents[1]
BOARDS = sorted(path.parent for path in (ROOT / "leaderboards").glob("*/suite.toml"))


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
class TestBoard:
    def test_the_suite_is_valid_and_names_its_backbone(self, board: Path) -> None:
        asked = suite.validate(suite.read(board / "suite.toml"), board.name)
        assert asked.backbone

    def test_the_page_says_what_the_results_say(self, board: Path, tmp_path: Path) -> None:
        copy = tmp_path / board.name
        shutil.copytree(board, copy)  # a plot is drawn into the folder
        text = (board / "README.md").read_text()
        assert "<!-- adbench leaderboard results" in text
        assert fill.filled(text, copy) == text
        for drawn in copy.glob("*.svg"):
            assert (board / drawn.name).exists()

    def test_every_file_is_named_by_its_trial(self, board: Path) -> None:
        files = sorted((board / "results/trials").glob("*.json"))
        assert files
        assert [r.trial.id for r in Store(board / "results").read()] == [f.stem for f in files]

    def test_every_result_says_where_it_comes_from(self, board: Path) -> None:
        for result in Store(board / "results").read():
            assert result.status == "ok"
            assert result.provenance["device"]
            assert result.provenance["torch"]
            assert all(weights.path is None for weights in result.trial.weights)
            # What needs no file has no sha256.
            assert all(w.sha256 or w.backbone == "embedded" for w in result.trial.weights)
            assert result.metrics
