import adbench_template
import torch
from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.testing import parametrize_with_checks
from adbench_harness.types import Level, Outputs, PatchBank, PatchEmbeddings
from adbench_template import Template

pytest_plugins = ["adbench_harness.fixtures"]


@parametrize_with_checks([Template])
def test_conformance(component, check):
    check(component)


def test_the_worst_patches_are_averaged():
    patches = torch.zeros(1, 2, 2, 3)
    patches[0, 0, 0, 0], patches[0, 1, 1, 0] = 4.0, 2.0
    ports = PatchEmbeddings((Level(patches),)), PatchBank((Neighbours(torch.zeros(1, 3)),))
    scores = Template(worst=2, sigma=0).score(Outputs((2, 2), *ports))
    torch.testing.assert_close(scores.image, torch.tensor([3.0]))


def test_it_beats_chance(run):
    plugins = ["patchcore", adbench_template.__file__]
    results = run(plugins=plugins, scorers="template", datasets="mini/brick", backbone="embedded")
    assert results["image_auroc"].item() > 0.5
    assert results["pixel_auroc"].item() > 0.5
