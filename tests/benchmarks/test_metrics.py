"""AUROC, average precision, F1-max and AUPRO over all pixels of a category."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from adbench_harness.evaluation import Evaluation
from adbench_harness.metrics.ranking import Ranking
from adbench_harness.planning import plan, plugins
from adbench_harness.planning.locations import Locations
from adbench_harness.planning.suite import Suite
from adbench_harness.running.bundle import run_bundle

REAL = os.environ.get("ADBENCH_REAL_DATA")
Pixels = tuple[list[np.ndarray], list[np.ndarray]]


def _random() -> Pixels:
    """155 maps of 1000 x 1000, three of four with one defect of 3% of the pixels."""
    draw = np.random.default_rng(0)
    maps, masks = [], []
    for number in range(155):
        mask = np.zeros((1000, 1000), dtype=bool)
        if number % 4:
            top, left = draw.integers(0, 800, 2)
            mask[top : top + 150, left : left + 200] = True
        maps.append(draw.random(mask.shape, dtype=np.float32))
        masks.append(mask)
    return maps, masks


def _patchcore() -> Pixels:
    """PatchCore's maps of 132 capsules of 1000 x 1000 px (ResNet-18, 1%)."""
    if not REAL:
        pytest.skip("ADBENCH_REAL_DATA names no folder with data/ and weights/")
    kept: list[Evaluation] = []
    suite = Suite(plugins=["patchcore"], datasets="folder", scorers="nn", backbone="resnet18")
    locations = Locations(
        datasets={"folder": f"{REAL}/data/mvtec_ad_resplit"}, weights=f"{REAL}/weights"
    )
    (bundle,) = plan.make(suite, plugins.load(["patchcore"]), locations).bundles
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Evaluation, "pixels", property(kept.append))
        list(run_bundle(bundle))
    return list(kept[0].maps or ()), list(kept[0].masks or ())


@pytest.fixture(scope="module", params=[_random, _patchcore], ids=["random", "patchcore"])
def category(request: pytest.FixtureRequest) -> Pixels:
    return request.param()


def _ours(maps: Any, masks: Any) -> list[float]:
    ranking = Ranking.of_pixels(maps, masks)
    return [
        ranking.auroc(),
        ranking.average_precision(),
        ranking.aupro(0.3),
        ranking.f1_max(),
    ]


def _work(maps: list[np.ndarray], four: str = "four metrics") -> str:
    kind = "random" if len(np.unique(maps[0])) > 900_000 else "PatchCore"
    return f"{four}, {len(maps)} {kind} maps of {maps[0].shape[0]} x {maps[0].shape[1]}"


def test_beside_adeval(
    category: Pixels, race: Callable[..., Any], machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its three metrics are read off a histogram of 1000 bins, ours are exact."""
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)  # all that adeval 1.1 knows
    adeval = pytest.importorskip("adeval", reason="adeval is in no ADBENCH_PEERS")
    maps, masks = category
    grey = [mask.astype(np.uint8) for mask in masks]
    size = sum(array.nbytes for part in category for array in part)
    ours, theirs = race(
        _work(maps, "AUROC, AP, F1-max, AUPRO"),
        lambda: _ours(maps, masks),
        "adeval: AUROC, AP, AUPRO, approximate",
        lambda: adeval.auroc_aupr_aupro(maps, grey),
        limit=machine.traffic(size),
    )
    np.testing.assert_allclose(ours[:3], theirs, atol=0.01)


def test_beside_sklearn(category: Pixels, race: Callable[..., Any]) -> None:
    maps, masks = (part[:40] for part in category)
    labels, scores = np.concatenate(masks).ravel(), np.concatenate(maps).ravel()
    ours, theirs = race(
        _work(maps), lambda: _ours(maps, masks), "scikit-learn: AUROC",
        lambda: roc_auc_score(labels, scores), rounds=1,
    )  # fmt: skip
    assert ours[0] == pytest.approx(theirs, abs=1e-9)


def test_beside_anomalib(category: Pixels, race: Callable[..., Any]) -> None:
    metrics = pytest.importorskip("anomalib.metrics", reason="anomalib is not installed")
    maps, masks = (part[:40] for part in category)
    scores = torch.from_numpy(np.stack(maps))
    # anomalib applies a sigmoid to scores outside [0, 1], so they are scaled to it.
    scores = (scores - scores.min()) / (scores.max() - scores.min())
    labels = torch.from_numpy(np.stack(masks)).int()

    def theirs() -> list[float]:
        values = []
        for name in ("AUROC", "AUPR", "AUPRO"):
            metric = getattr(metrics, name)(fields=["anomaly_map", "gt_mask"])
            metric.update(_Batch(scores, labels))
            values.append(float(metric.compute()))
        return values

    ours, theirs_ = race(
        _work(maps), lambda: _ours(maps, masks), "anomalib: AUROC, AP, AUPRO", theirs, rounds=1
    )
    np.testing.assert_allclose(ours[:3], theirs_, atol=0.01)


class _Batch:
    """What anomalib's metrics read."""

    def __init__(self, anomaly_map: torch.Tensor, gt_mask: torch.Tensor) -> None:
        self.anomaly_map = anomaly_map
        self.gt_mask = gt_mask
