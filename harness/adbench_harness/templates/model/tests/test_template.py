import adbench_template
import pytest
from adbench_harness.testing import parametrize_with_checks
from adbench_harness.types import AnomalyMap
from adbench_template import Template

pytest_plugins = ["adbench_harness.fixtures"]


@parametrize_with_checks([Template])
def test_conformance(component, check):
    check(component)


@pytest.fixture
def side():
    return Template().input.size[0]


def test_a_defect_stands_out(train_set, tools, batch, defective_batch):
    model = Template().fit(train_set, tools)
    normal = model.predict(batch)[AnomalyMap].levels[0].values
    defective = model.predict(defective_batch)[AnomalyMap].levels[0].values
    assert defective.amax((1, 2)).min() > normal.max()


def test_it_beats_chance(run):
    results = run(plugins=[adbench_template.__file__], datasets="mini/brick")
    assert results["image_auroc"].item() > 0.5
    assert results["pixel_auroc"].item() > 0.5
