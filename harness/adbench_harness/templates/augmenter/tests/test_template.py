import adbench_template
from adbench_harness.testing import parametrize_with_checks
from adbench_template import Template

pytest_plugins = ["adbench_harness.fixtures"]


@parametrize_with_checks([Template])
def test_conformance(component, check):
    check(component)


def test_blots_are_darker(batch, tools):
    made = Template(share=1).augment(batch, tools.generator)
    assert made.kind.tolist() == [1] * len(batch)
    inside = made.masks[:, None].expand_as(batch.images)
    assert (made.images[inside] < batch.images[inside]).all()


def test_a_model_trains_on_it(run):
    results = run(
        plugins=["twostage", adbench_template.__file__],
        datasets="mini/brick",
        augmenters="template",
        models="twostage-stage1:preset=smoke",
        scorers="map",
    )
    assert results["augmenter"].tolist() == ["template"]
    assert results["status"].tolist() == ["ok"]
