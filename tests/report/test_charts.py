from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from adbench_harness.metrics.ranking import Ranking
from adbench_harness.report.charts import PRO_LIMIT, curve

scored = st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=2, max_size=60).filter(
    lambda pairs: len({label for _, label in pairs}) == 2
)


@given(scored)
def test_a_roc_curve_is_that_of_scikit_learn(pairs):
    scores = np.array([score for score, _ in pairs], np.float32)
    labels = np.array([label for _, label in pairs])
    ranking = Ranking.of_images(scores, labels)
    x, y = curve(ranking, ranking.true_positives / ranking.positives, 1.0)
    expected = roc_curve(labels, scores, drop_intermediate=False)[:2]
    for fpr, tpr in zip(*expected, strict=True):
        # A curve rises straight up where only positives come: any height in between is on it.
        at = y[np.isclose(x, fpr)]
        low, high = (at.min(), at.max()) if len(at) else [np.interp(fpr, x, y)] * 2
        assert low - 1e-9 <= tpr <= high + 1e-9
    assert np.trapezoid(y, x) == pytest.approx(ranking.auroc())
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)


def test_a_long_curve_is_thinned_and_cut_where_its_limit_is():
    draw = np.random.default_rng(0)
    truth = draw.random((6, 60, 60)) > 0.9
    maps = (draw.normal(size=truth.shape) + 1.5 * truth).astype(np.float32)
    ranking = Ranking.of_pixels(list(maps), list(truth))
    x, y = curve(ranking, ranking.overlap, PRO_LIMIT)
    assert len(x) <= 302
    assert x[-1] == PRO_LIMIT
    assert np.all(np.diff(x) >= 0)
    assert np.all(np.diff(y) >= 0)
    assert np.trapezoid(y, x) / PRO_LIMIT == pytest.approx(ranking.aupro(PRO_LIMIT), abs=2e-3)
