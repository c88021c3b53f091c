import adbench_template
import numpy as np
import pytest
from adbench_harness.evaluation import Evaluation
from adbench_harness.testing import parametrize_with_checks
from adbench_template import TEMPLATE

pytest_plugins = ["adbench_harness.fixtures"]


@parametrize_with_checks([TEMPLATE])
def test_conformance(component, check):
    check(component)


def test_against_a_count_by_hand():
    """One of 100 normal images is above the five highest defects, nine are above the other five."""
    scores = np.r_[np.full(5, 3), np.full(5, 1), 4, np.full(8, 2), np.zeros(91)]
    labels = np.r_[np.ones(10), np.zeros(100)].astype(np.int8)
    evaluation = Evaluation(labels, scores=scores.astype(np.float32))
    assert TEMPLATE.compute(evaluation) == pytest.approx(0.5)


def test_a_run_reports_it(run):
    plugins = ["patchcore", adbench_template.__file__]
    results = run(plugins=plugins, datasets="mini/brick", scorers="nn", backbone="embedded")
    assert 0 < results["template"].item() <= 1
