from __future__ import annotations

from typing import Any

import pytest

from adbench_harness.errors import UserError
from adbench_harness.nn.inputs import Crop, Resize
from adbench_harness.planning import parameters
from adbench_harness.planning.grammar import Wanted, component
from adbench_harness.results.trial import Choice
from adbench_harness.types import InputSpec, Model


class Sized(Model):
    name = "sized"
    summary = "a model with an input"
    version = 1

    def __init__(self, *, resize: Resize = 256, crop: Crop = 224) -> None:
        self.input = InputSpec(resize, crop)

    def fit(self, train: Any, tools: Any) -> None: ...

    def predict(self, batch: Any) -> Any: ...


class Catalogue:
    def get(self, kind: str, name: str) -> type[Sized]:
        return Sized


def resolved(**params: Any) -> Choice:
    return parameters.resolve(Catalogue(), "model", Wanted("sized", params))


@pytest.mark.parametrize("written", ["256x320", " 256 x 320 ", [256, 320], ["256", "320"]])
def test_a_rectangle_is_stored_in_one_way(written: Any) -> None:
    choice = resolved(resize=written)
    assert choice.params == {"resize": "256x320", "crop": 224}
    assert choice.label == "sized(resize=256x320)"
    assert resolved(**component(choice.label).params).canonical == choice.canonical
    assert parameters.build(Catalogue(), "model", choice).input == InputSpec((256, 320), 224)


@pytest.mark.parametrize("written", [256, "256", "256x256", [256, 256]])
def test_a_square_is_its_side(written: Any) -> None:
    """So a trial keeps the id that it had before there were rectangles."""
    choice = resolved(resize=written)
    assert choice.canonical == resolved().canonical
    assert choice.params == {"resize": 256, "crop": 224}
    assert isinstance(choice.params["resize"], int)
    assert choice.changed == ()


def test_a_crop_may_be_a_rectangle_or_none() -> None:
    choice = resolved(resize="300x400", crop="128x256")
    assert parameters.build(Catalogue(), "model", choice).input.size == (128, 256)
    whole = resolved(resize="300x400", crop="none")
    assert whole.params["crop"] is None
    assert parameters.build(Catalogue(), "model", whole).input.size == (300, 400)
    with pytest.raises(UserError, match="a crop of 224 px does not fit into 64x300 px"):
        parameters.build(Catalogue(), "model", resolved(resize="64x300"))


@pytest.mark.parametrize(
    "written",
    ["256x", "x256", "x", "0x3", "3x-1", "axb", "1x2x3", "1.5x2", "0", 0, "a", "", [], [1, 2, 3]],
)
@pytest.mark.parametrize("name", ["resize", "crop"])
def test_anything_else_is_refused_in_one_line(name: str, written: Any) -> None:
    with pytest.raises(UserError) as refused:
        resolved(**{name: written})
    line = str(refused.value)
    assert "\n" not in line
    assert line.startswith(f"model 'sized': parameter '{name}' cannot be {written!r}: write a ")
    assert "HEIGHTxWIDTH such as 256x320" in line
