"""Rows that learned from different images never share a rank."""

from __future__ import annotations

from adbench_harness import leaderboard


def test_settings_are_sections_of_their_own(result):
    found = [result(0.8, model="a"), result(0.9, model="b", protocol="zero-shot")]
    assert leaderboard.frame(found)["dataset"].tolist() == ["mini", "mini [zero-shot]"]
    text = leaderboard.render(found)
    rows = [line.split() for line in text.splitlines() if "mini" in line and line[:2].strip()]
    assert [cells[0] for cells in rows if cells[0].isdigit()] == ["1", "1"]  # among its own


def test_a_setting_may_be_an_axis(result):
    found = [result(0.8), result(0.7, shots=4), result(0.6, unified=True)]
    rows = leaderboard.frame(found, ["setting"])
    assert rows["setting"].tolist() == ["unsupervised", "4-shot", "unified"]
    assert rows["dataset"].tolist() == ["mini"] * 3


def test_a_unified_trial_is_the_same_model(result):
    alone = result(0.8)
    unified = result(0.7, unified=True, auxiliary=(("mini", "0123456789abcdef"),))
    assert leaderboard.frame([alone, unified])["model"].nunique() == 1


def test_draws_of_shots_are_repeats(result):
    draws = [result(value, shots=1, shot_seed=i) for i, value in enumerate((0.6, 0.8))]
    assert len(leaderboard.frame(draws)) == 2  # neither hides the other
    text = leaderboard.render(draws)
    assert "70.0" in text
    assert "2 draws of shots" in text
