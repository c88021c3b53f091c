from __future__ import annotations

import math

import numpy as np
import pytest

from adbench_harness.basic.metrics import METRICS
from adbench_harness.evaluation import Evaluation
from adbench_harness.planning import plugins
from adbench_harness.statistics import proportion

(RECALL,) = (metric for metric in METRICS if metric.name == "recall_at_1%")


def held_out(validation, scores=(0.5, 2.5, 98.5, 100.5), labels=(1, 1, 1, 1)):
    return Evaluation(
        np.array(labels, np.int8),
        np.array(scores, np.float32),
        validation=np.array(validation, np.float32),
    )


@pytest.mark.parametrize(
    ("normals", "found"),
    [
        (range(100), 0.5),  # 98 is exceeded by one of a hundred: by 1%
        (range(99), 0.5),  # of fewer than a hundred none may be higher
        (range(3), 0.75),
        ([0] * 98 + [3, 200], 0.5),
        ([7] * 100, 0.5),  # ties do not exceed each other
        ([0] * 297 + [99, 100, 101], 1.0),  # three of three hundred
        ([0] * 196 + [99, 100, 101, 102], 0.25),  # two of two hundred, not four
    ],
)
def test_the_threshold_is_what_one_percent_of_the_held_out_exceed(normals, found):
    evaluation = held_out(normals)
    assert RECALL.compute(evaluation) == found
    assert RECALL.interval is not None
    assert RECALL.interval(evaluation) == proportion.interval(found, 4)


def test_only_anomalous_images_count():
    evaluation = held_out(range(100), scores=(99, 99, 0, 99), labels=(0, 1, 1, -1))
    assert RECALL.compute(evaluation) == 0.5


@pytest.mark.parametrize("given", [{"validation": ()}, {"validation": [1.0], "labels": [0] * 4}])
def test_without_anomalies_or_held_out_images_it_is_undefined(given):
    evaluation = held_out(**given)
    assert math.isnan(RECALL.compute(evaluation))
    assert all(math.isnan(end) for end in RECALL.interval(evaluation))


def test_without_held_out_scores_it_is_left_out():
    assert not Evaluation(np.ones(2, np.int8), np.zeros(2, np.float32)).has(RECALL.needs)


def test_runs_that_name_no_metrics_keep_their_ids():
    """Metrics are part of a trial's id, so what is added since runs only where it is named."""
    offers = plugins.load([]).offers["metric"]
    assert [name for name, offer in offers.items() if offer.component.default] == [
        *("image_auroc", "image_ap", "image_f1", "pixel_auroc", "pixel_ap", "pixel_f1"),
        *("aupro", "aupro_005", "accuracy", "macro_recall", "macro_precision", "macro_f1"),
    ]
