from __future__ import annotations

from dataclasses import replace

from adbench_harness.leaderboard.frame import frame
from adbench_harness.leaderboard.notes import image_notes


def test_each_note_is_said_once_with_its_categories(result):
    def noted(category, *notes):
        one = result(0.9, category=category)
        return replace(one, provenance={**one.provenance, "notes": notes})

    results = [noted("grass", "b"), noted("brick", "b", "a"), result(0.9, category="tile")]
    found = list(image_notes(frame(results), results))
    assert found == ["mini/brick: a", "mini/brick, mini/grass: b"]
