from __future__ import annotations

import pytest

from adbench_harness.results.store import Store


def test_rows_are_compared_by_the_images_that_each_shows(site, results, compared):
    (content,) = compared(site)
    store = Store(results)
    assert len(content["rows"]) == 3  # the one that failed has no images
    for row in content["rows"].values():
        result = next(r for r in store.read() if r.trial.id == row["trial"])
        stored = store.images(result.trial)
        assert [image["path"] for image in content["images"]] == stored["path"].tolist()
        assert [float(i["score"]) for i in row["images"]] == pytest.approx(
            stored["score"], rel=1e-3
        )
        assert all(image["heat"] for image in row["images"])
