import adbench_template
from adbench_harness.testing import parametrize_with_checks
from adbench_template import COUNTS, STRIPES, Template

pytest_plugins = ["adbench_harness.fixtures"]


@parametrize_with_checks([Template])
def test_conformance(component, check):
    check(component)


def test_every_scratch_has_a_mask(tmp_path):
    root = Template().build(tmp_path)
    for category in Template().categories(root):
        samples = Template().samples(root, category, 0)
        assert len(samples) == sum(COUNTS.values())
        assert all(len(sample.masks) == sample.label for sample in samples)


def test_a_model_runs_on_it(run):
    plugins = ["patchcore", adbench_template.__file__]
    results = run(plugins=plugins, datasets="template", scorers="nn", backbone="embedded")
    assert set(results["category"]) == set(STRIPES)
    assert (results["pixel_auroc"] > 0.5).all()
