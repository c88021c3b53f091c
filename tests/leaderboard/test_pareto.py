from __future__ import annotations

import numpy as np

from adbench_harness.leaderboard.pareto import front


def test_nothing_beats_the_front_in_both() -> None:
    values = np.array([0.9, 0.8, 0.8, 0.7, 0.9])
    costs = np.array([5.0, 2.0, 3.0, 2.0, 5.0])
    assert front(values, costs).tolist() == [True, True, False, False, True]
