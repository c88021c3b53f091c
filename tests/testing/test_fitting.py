from __future__ import annotations

import pytest
import torch

from adbench_harness.testing import fitting
from adbench_harness.testing.common import Skipped
from adbench_harness.types import ImageScore, InputSpec, Model, Outputs


class Wants(Model):
    name = "wants"
    summary = "asks for all that a batch can hold"
    version = 1
    input = InputSpec(32, None)
    category_names = True
    extras = ("depth",)

    def fit(self, train, tools): ...

    def predict(self, batch): ...


@pytest.mark.parametrize(("size", "shape"), [(32, (32, 32)), ((24, 40), (24, 40))])
def test_a_planted_defect_is_in_the_middle_and_nowhere_else(size, shape):
    normal, planted = fitting.textures(3, size), fitting.textures(3, size, blob=True)
    assert normal.shape == (3, 3, *shape)
    assert 0 <= normal.min() <= normal.max() <= 1
    changed = (normal != planted).any(1)
    middle = torch.zeros(shape, dtype=torch.bool)
    height, width = shape
    middle[height * 2 // 5 : height * 3 // 5, width * 2 // 5 : width * 3 // 5] = True
    assert (changed == middle).all()


def test_a_model_gets_what_it_declares_and_no_other_does():
    images = fitting.textures(4, 16)
    plain, whole = fitting.batch(images), fitting.batch(images, Wants())
    assert (plain.categories, dict(plain.extras)) == ((), {})
    assert whole.categories == ("plate", "tile", "plate", "tile")
    assert whole.extras["depth"].shape == (4, 1, 16, 16)
    assert set(fitting.train(images, model=Wants()).categories) == {"plate", "tile"}


def test_a_training_set_shows_classes_only_if_asked():
    images = fitting.textures(4, 16)
    assert fitting.train(images).classes == ()
    shown = fitting.train(images, classes=True)
    assert shown.classes == ("good", "blob")
    labels = [label for batch in shown.batches(1) for label in batch.classes.tolist()]
    assert sorted(labels) == [0, 0, 1, 1]


def test_outputs_are_counted_by_image():
    outputs = [Outputs((8, 8), ImageScore(torch.zeros(count))) for count in (3, 2)]
    walked = fitting.Walked(outputs)
    assert len(walked) == 5
    assert list(walked) == list(walked) == outputs


def test_weights_of_a_models_own_are_a_reason_to_skip():
    with pytest.raises(Skipped, match=r"the model's own weights 'x.pth' were not found"):
        fitting.tools(None, 16).weights("x.pth")
