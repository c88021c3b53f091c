"""Which models, scorers and augmenters fit; ``test_plan.py`` has whole plans and backbones."""

from __future__ import annotations

from typing import Any

import pytest

from adbench_harness.errors import UserError
from adbench_harness.planning import suite
from adbench_harness.planning.axes import Axes
from adbench_harness.planning.components import Components
from adbench_harness.planning.locations import Locations
from adbench_harness.planning.pipelines import UNKNOWN, Pipelines
from adbench_harness.planning.plugins import Catalogue


@pytest.fixture
def pipelines(catalogue: Catalogue, toys: str) -> Any:
    def make(**keys: Any) -> Pipelines:
        asked = suite.validate({"plugins": [toys], **keys}, "test")
        return Pipelines(asked, Axes(asked, Components(catalogue)), Locations())

    return make


def triples(made: Pipelines) -> list[tuple[str, str, str]]:
    return [
        (one.augmenter.label if one.augmenter else "", one.model.label, one.scorer.label)
        for one in made.all()
    ]


def test_what_fits_is_combined_and_the_rest_is_left_out_with_a_reason(pipelines: Any) -> None:
    made = pipelines(models="toy-mean", scorers="toy-map,softmax", augmenters="toy-square")
    with pytest.raises(UserError, match="scorer 'softmax' fits no chosen model: it accepts"):
        made.all()
    made = pipelines(models="toy-mean,toy-trained", scorers="toy-map", augmenters="none,toy-square")
    found = triples(made)
    assert ("", "toy-mean", "toy-map") in found
    assert ("toy-square", "toy-mean", "toy-map") not in found
    assert ("toy-square", "toy-trained", "toy-map") in found
    assert "toy-mean x toy-square: it takes no augmenter" in made.left_out


def test_a_model_of_another_protocol_is_left_out(pipelines: Any) -> None:
    made = pipelines(models="toy-mean,toy-classes", scorers="softmax", protocol="classification")
    assert {model for _, model, _ in triples(made)} == {"toy-classes"}
    assert "toy-mean: supports unsupervised, not classification" in made.left_out


def test_a_broken_model_is_there_once_with_a_scorer_that_nobody_knows(
    plugin_file: Any, toys: str
) -> None:
    from adbench_harness.planning import plugins

    body = """
from toys import ToyModel


class Breaks(ToyModel):
    name = "breaks"

    def __init__(self) -> None:
        raise RuntimeError("it broke")


@hookimpl
def adbench_models():
    return [Breaks]
"""
    named = [toys, plugin_file("breaking", body)]
    asked = suite.validate({"plugins": named, "models": "breaks,toy-mean"}, "test")
    axes = Axes(asked, Components(plugins.load(named)))
    made = Pipelines(asked, axes, Locations())
    broken = [one for one in made.all() if one.model.name == "breaks"]
    assert [(one.augmenter, one.scorer) for one in broken] == [(None, UNKNOWN)]
    assert made.broken
