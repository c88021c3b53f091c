"""The alternatives of each axis; ``test_plan.py`` has whole plans."""

from __future__ import annotations

from typing import Any

import pytest

from adbench_harness.errors import UserError
from adbench_harness.planning import suite
from adbench_harness.planning.axes import Axes, retuned, settings
from adbench_harness.planning.components import Components
from adbench_harness.planning.grammar import Wanted, component
from adbench_harness.planning.plugins import Catalogue


@pytest.fixture
def axes(catalogue: Catalogue, toys: str) -> Any:
    def make(**keys: Any) -> Axes:
        return Axes(suite.validate({"plugins": [toys], **keys}, "test"), Components(catalogue))

    return make


def labels(axes: Axes, kind: str) -> list[str]:
    return ["+".join(choice.label for choice in chain) for chain in axes.chains(kind)]


def test_a_list_of_a_parameter_is_a_grid_in_the_order_written(axes: Any) -> None:
    made = axes(models="toy-mean:gain=[3,1,2]")
    assert labels(made, "model") == ["toy-mean(gain=3.0)", "toy-mean", "toy-mean(gain=2.0)"]
    made = axes(preprocessors="none,toy-dim:factor=[0.1,0.2]+toy-dim")
    assert labels(made, "preprocessor") == [
        "",
        "toy-dim(factor=0.1)+toy-dim",
        "toy-dim(factor=0.2)+toy-dim",
    ]


def test_a_list_is_one_value_where_the_parameter_is_a_list(axes: Any) -> None:
    assert labels(axes(models="toy-mean:layers=[a,b]"), "model") == ["toy-mean(layers=[a,b])"]
    grid = axes(models="toy-mean:layers=[[a,b],[c]]")
    assert labels(grid, "model") == ["toy-mean(layers=[a,b])", "toy-mean(layers=[c])"]


def test_silence_is_what_the_plugins_bring_with_none_first(axes: Any) -> None:
    made = axes()
    assert labels(made, "preprocessor")[0] == ""
    assert "toy-dim" in labels(made, "preprocessor")
    assert "toy-mean" in labels(made, "model")


@pytest.mark.parametrize(
    ("kind", "keys", "said"),
    [
        ("model", {"models": "toy-mean+toy-raises"}, "only preprocessors can be chained"),
        ("scorer", {"scorers": "none"}, "'none' is not a scorer; leave it out"),
    ],
)
def test_mistakes_on_an_axis(axes: Any, kind: str, keys: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        axes(**keys).chains(kind)


def test_a_category_is_cut_from_its_data_set(axes: Any) -> None:
    made = axes(datasets="toy-data/dark")
    assert [(choice.name, only) for choice, only in made.datasets()] == [("toy-data", "dark")]
    with pytest.raises(UserError, match="a data set is a single name"):
        axes(datasets="toy-data+toy-data").datasets()


def test_a_setting_that_changed_nothing_is_refused(axes: Any) -> None:
    made = axes(models="toy-mean", set={"toy-dim.factor": 0.1})
    made.chains("model")
    with pytest.raises(UserError, match="this run does not use the preprocessor 'toy-dim'"):
        made.check_settings()


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("gain", "write COMPONENT.PARAMETER=VALUE"),
        ("engine:toy-mean.gain", "with a kind of dataset, "),
        ("toy-meen.gain", "no component 'toy-meen'.*toy-mean"),
        ("toy-mean.gian", "has no parameter 'gian'.*gain"),
    ],
)
def test_settings_that_name_nothing_are_refused(catalogue: Catalogue, key: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        settings(Components(catalogue), {key: 1})


def test_a_retuned_component_keeps_its_label(catalogue: Catalogue) -> None:
    components = Components(catalogue)
    choice = components.resolve("model", component("toy-mean:gain=2"))
    tuned = retuned(components, "model", choice, {("model", "toy-mean"): {"gain": 3}})
    assert tuned.params["gain"] == 3
    assert tuned.changed == choice.changed
    untouched = components.resolve("model", Wanted("toy-mean"))
    assert retuned(components, "model", untouched, {("model", "other"): {"gain": 3}}) is untouched
