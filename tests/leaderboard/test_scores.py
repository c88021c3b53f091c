from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from adbench_harness.errors import UserError
from adbench_harness.leaderboard.scores import table
from adbench_harness.results.store import Store


@pytest.fixture
def scored(result):
    def make(score, **axes):
        images = {
            "path": np.array(["a.png", "b.png", "c.png"]),
            "defect": np.array(["good", "hole", "unknown"]),
            "label": np.array([0, 1, -1], np.int8),
            "score": np.array(score, np.float32),
        }
        return replace(result(0.5, **axes), images=images)

    return make


def written(tmp_path, results):
    store = Store(tmp_path)
    for one in results:
        store.write(one)
    return list(store.read()), store


def test_a_column_for_each_row_and_a_row_for_each_image(scored, tmp_path):
    found, rows, without = table(
        *written(
            tmp_path,
            [
                scored([1, 2, 3]),
                scored([4, 5, 6], model="padim"),
                scored([7, 8, 9], model="padim", category="grass"),
            ],
        ),
        {},
    )
    assert rows == 2
    assert without == []
    assert found.columns.tolist() == ["padim · knn", "patchcore · knn"]
    flat = found.reset_index()
    assert flat.columns.tolist()[:5] == ["dataset", "category", "image", "label", "defect"]
    brick = flat[flat["category"].eq("brick")]
    assert brick["image"].tolist() == ["a.png", "b.png", "c.png"]
    assert brick["label"].tolist()[:2] == [0, 1]
    assert brick["label"].isna().tolist() == [False, False, True]
    assert brick["patchcore · knn"].tolist() == [1, 2, 3]
    grass = flat[flat["category"].eq("grass")]
    assert grass["padim · knn"].tolist() == [7, 8, 9]
    assert grass["patchcore · knn"].isna().all(), "it did not see these images"


def test_repeats_have_their_own_columns(scored, tmp_path):
    results = [scored([1, 2, 3]), scored([4, 5, 6], seed=1)]
    found, rows, _ = table(*written(tmp_path, results), {})
    assert rows == 1
    assert found.columns.tolist() == ["patchcore · knn · seed 0", "patchcore · knn · seed 1"]


def test_rows_without_scores_are_named_and_none_is_an_error(scored, result, tmp_path):
    bare = result(0.5, model="bare")
    results, store = written(tmp_path, [scored([1, 2, 3]), bare])
    assert table(results, store, {})[2] == ["bare · knn"]
    with pytest.raises(UserError, match="has image scores"):
        table(results, store, {"model": "bare"})
