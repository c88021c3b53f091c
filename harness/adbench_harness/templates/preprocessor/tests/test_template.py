import adbench_template
import numpy as np
from adbench_harness.testing import parametrize_with_checks
from adbench_template import Template

pytest_plugins = ["adbench_harness.fixtures"]


@parametrize_with_checks([Template])
def test_conformance(component, check):
    check(component)


def test_a_faint_pattern_gets_stronger():
    image = np.random.default_rng(0).integers(120, 136, (64, 64, 3), dtype=np.uint8)
    assert Template()(image).std() > 1.5 * image.std()


def test_it_runs_beside_none(run):
    results = run(
        plugins=["patchcore", adbench_template.__file__],
        datasets="mini/brick",
        preprocessors="none,template",
        scorers="nn",
        backbone="embedded",
    )
    assert set(results["preprocessor"]) == {"none", "template"}
    assert (results["image_auroc"] > 0.5).all()
