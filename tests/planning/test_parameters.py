from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from adbench_harness.errors import ContractError, UserError
from adbench_harness.planning import grammar, parameters, plugins
from adbench_harness.planning.grammar import Wanted
from adbench_harness.planning.plugins import Catalogue
from adbench_harness.results.trial import Choice
from adbench_harness.types import Model

SCORER = """
from typing import Annotated, Literal
from pydantic import Field
from adbench_harness.types import AnomalyMap, Scores

class Mine:
    name, summary, paper, version = "mine", "Mine.", None, 4
    accepts = frozenset({AnomalyMap})
    def __init__(
        self,
        *,
        whole: Annotated[int, Field(ge=1, description="a count")] = 3,
        switch: Annotated[bool, "on or off"] = False,
        mode: Literal["fast", "slow"] = "fast",
        limit: float | None = None,
        text: str = "a,b: c",
        shape: tuple[int, int] = (2, 3),
        names: list[str] | None = None,
    ) -> None:
        if whole == 13:
            raise ValueError("13 brings bad luck")
        self.given = whole, switch, mode, limit, text, shape, names
    def score(self, outputs):
        return Scores()

@hookimpl
def adbench_scorers():
    return [Mine]
"""


@pytest.fixture
def mine(plugin_file: Callable[[str, str], str]) -> Catalogue:
    return plugins.load([plugin_file("mine", SCORER)])


def resolved(catalogue: Catalogue, text: str) -> Choice:
    return parameters.resolve(catalogue, "scorer", grammar.component(text))


def test_defaults_are_filled_in_as_json(mine: Catalogue) -> None:
    choice = resolved(mine, "mine")
    assert choice == Choice(
        "mine",
        4,
        {
            "whole": 3,
            "switch": False,
            "mode": "fast",
            "limit": None,
            "text": "a,b: c",
            "shape": [2, 3],
            "names": None,
        },
    )
    assert choice.label == "mine"
    built = parameters.build(mine, "scorer", choice)
    assert built.given == (3, False, "fast", None, "a,b: c", (2, 3), None)


@pytest.mark.parametrize(
    "text",
    [
        "mine(whole=5,switch=true,mode=slow,limit=0.5)",
        "mine(text='x,[y')",
        "mine(shape=[4,5],names=[a,'b,c'])",
        "mine(names=[])",
    ],
)
def test_a_label_is_what_makes_the_choice_again(mine: Catalogue, text: str) -> None:
    choice = resolved(mine, text)
    assert choice.label == text
    assert resolved(mine, choice.label) == choice


def test_a_written_default_is_not_a_change(mine: Catalogue) -> None:
    assert resolved(mine, "mine:whole=3:limit=none:shape=[2,3]") == resolved(mine, "mine")


def test_the_order_of_writing_changes_nothing(mine: Catalogue) -> None:
    assert resolved(mine, "mine:mode=slow:whole=5") == resolved(mine, "mine:whole=5:mode=slow")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "mine:whol=5",
            r"scorer 'mine' has no parameter 'whol' \(did you mean 'whole'\?\); it has",
        ),
        ("mine:whole=abc", r"'whole' cannot be 'abc': .*\(type int, default 3\)"),
        ("mine:whole=0", "'whole' cannot be '0': .*greater than or equal to 1"),
        ("mine:whole=none", "'whole' cannot be 'none'"),
        ("mine:mode=quick", r"'mode' cannot be 'quick': .*\(type fast \| slow, default 'fast'\)"),
        ("mine:switch=maybe", "'switch' cannot be 'maybe'"),
        ("mine:shape=[1,2,3]", "'shape' cannot be"),
        ("mien", r"unknown scorer 'mien' \(did you mean 'mine'\?\)"),
    ],
)
def test_mistakes_name_the_parameter_and_what_is_valid(
    mine: Catalogue, text: str, reason: str
) -> None:
    with pytest.raises(UserError, match=reason) as error:
        resolved(mine, text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("coreset_ratio=abc", r"'coreset_ratio' cannot be 'abc': .*\(type float, default 0.01\)"),
        ("coreset_ratio=2.0", "'coreset_ratio' cannot be '2.0': .*less than or equal to 1"),
        ("coreset_ration=0.1", r"no parameter 'coreset_ration' \(did you mean 'coreset_ratio'\?\)"),
    ],
)
def test_mistakes_with_a_real_model(setting: str, reason: str) -> None:
    patchcore = plugins.load(["patchcore"])
    with pytest.raises(UserError, match=reason):
        parameters.resolve(patchcore, "model", grammar.component(f"patchcore:{setting}"))


def test_meaning_type_and_sequences(mine: Catalogue) -> None:
    known = parameters.parameters(mine.get("scorer", "mine"))
    assert {name: known[name].meaning for name in ("whole", "switch", "mode")} == {
        "whole": "a count",
        "switch": "on or off",
        "mode": "",
    }
    assert {name: known[name].type for name in known} == {
        "whole": "int",
        "switch": "bool",
        "mode": "fast | slow",
        "limit": "float | None",
        "text": "str",
        "shape": "tuple[int, int]",
        "names": "list[str] | None",
    }
    assert [name for name in known if known[name].is_sequence] == ["shape", "names"]


@pytest.mark.parametrize(
    ("catalogue_of", "kind", "text", "reason"),
    [
        ("mine", "scorer", "mine:whole=13", "scorer 'mine(whole=13)': 13 brings bad luck"),
        (
            "patchcore",
            "model",
            "patchcore:neighbourhood=2",
            "model 'patchcore(neighbourhood=2)': neighbourhood must be odd",
        ),
    ],
)
def test_a_value_that_the_constructor_refuses(
    mine: Catalogue, catalogue_of: str, kind: str, text: str, reason: str
) -> None:
    catalogue = mine if catalogue_of == "mine" else plugins.load([catalogue_of])
    choice = parameters.resolve(catalogue, kind, grammar.component(text))
    with pytest.raises(UserError) as error:
        parameters.build(catalogue, kind, choice)
    assert str(error.value).startswith(reason)


@pytest.mark.parametrize("written", ["mine", "mine:mode=slow"])
def test_a_constructor_that_always_raises_is_not_the_users_mistake(
    plugin_file: Callable[[str, str], str], written: str
) -> None:
    """Whatever the user wrote, and whichever error it is."""
    body = SCORER.replace("if whole == 13:", "if True:")
    catalogue = plugins.load([plugin_file("mine", body)])
    choice = resolved(catalogue, written)
    with pytest.raises(ValueError, match="13 brings bad luck"):
        parameters.build(catalogue, "scorer", choice)


@pytest.mark.parametrize("signature", ["*, size=3", "*, size: int", "size: int = 3", "**rest: int"])
def test_a_constructor_that_cannot_be_checked_is_refused(signature: str) -> None:
    space: dict[str, Any] = {}
    exec(f"class Loose:\n    def __init__(self, {signature}): pass", space)
    with pytest.raises(ContractError, match=r"Loose: constructor parameter '\w+' must be keyword"):
        parameters.parameters(space["Loose"])


class Ordinary(nn.Module):
    """No constructor of its own."""


class Inherits(Ordinary, Model):
    """Nor here."""


class Forwards(nn.Module):
    """One of its own that says nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


class ForwardsToo(Forwards):
    """Inherits it from the same author."""


class Lightning(nn.Module):
    """The constructor of a framework."""

    __module__ = "lightning.pytorch.core.module"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


def test_a_constructor_that_the_author_did_not_write_has_no_parameters() -> None:
    trained = type("Trained", (Lightning,), {})
    for component in (Ordinary, Inherits, trained, type("Mine", (), {})):
        assert parameters.parameters(component) == {}
    for component in (Forwards, ForwardsToo):
        with pytest.raises(ContractError, match="constructor parameter 'args' must be"):
            parameters.parameters(component)


def test_parameters_of_a_class_are_read_once(mine: Catalogue) -> None:
    component = mine.get("scorer", "mine")
    assert parameters.parameters(component) is parameters.parameters(component)
    whole = parameters.parameters(component)["whole"]
    assert whole.adapter is whole.adapter


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (" = 3,", " = 'three',", "parameter 'whole' cannot be 'three'"),
        ('"Mine."', '"Mine."; presets = {"small": {"whole": 0}}', "'whole' cannot be 0"),
        ('"Mine."', '"Mine."; presets = {"small": {"whle": 1}}', "no parameter 'whle'"),
    ],
)
def test_wrong_defaults_and_presets_are_the_authors_mistake(
    plugin_file: Callable[[str, str], str], old: str, new: str, reason: str
) -> None:
    body = SCORER.replace('name, summary, paper, version = "mine", "Mine.", None, 4', _MEMBERS)
    catalogue = plugins.load([plugin_file("mine", body.replace(old, new))])
    with pytest.raises(ContractError, match=reason) as error:
        resolved(catalogue, "mine")
    assert str(error.value).endswith("; correct the component's defaults or presets")


_MEMBERS = 'name = "mine"; paper = None; version = 4; summary = "Mine."'


# ---------------------------------------------------------------- components as parameters


def wrapped(catalogue: Catalogue, **params: Any) -> Choice:
    return parameters.resolve(catalogue, "model", Wanted("toy-wrapper", params))


def test_a_component_as_a_parameter_is_checked_and_handed_in_ready(catalogue: Catalogue) -> None:
    choice = wrapped(catalogue, detector="toy-mean(gain=2)", scorer="toy-map:pool=mean")
    assert choice.label == "toy-wrapper(detector=toy-mean(gain=2.0),scorer=toy-map(pool=mean))"
    model = parameters.build(catalogue, "model", choice)
    assert model.detector.gain == 2.0
    assert model.scorer.pool == "mean"
    assert parameters.build(catalogue, "model", wrapped(catalogue)).scorer is None


@pytest.mark.parametrize(
    "written",
    [
        "toy-mean:gain=2",
        "toy-mean(gain=2)",
        {"name": "toy-mean", "gain": 2},
        {"name": "toy-mean", "version": 1, "params": {"gain": 2.0}, "changed": ["gain"]},
    ],
)
def test_every_way_to_write_a_component_is_the_same(catalogue: Catalogue, written: Any) -> None:
    assert wrapped(catalogue, detector=written) == wrapped(catalogue, detector="toy-mean(gain=2)")


def test_a_nested_default_is_not_a_change(catalogue: Catalogue) -> None:
    assert wrapped(catalogue, detector="toy-mean:gain=1", scorer="none").label == "toy-wrapper"


def test_nested_components_nest(catalogue: Catalogue) -> None:
    choice = wrapped(catalogue, detector="toy-wrapper(detector=toy-mean(layers=[x,y]))")
    model = parameters.build(catalogue, "model", choice)
    assert model.detector.detector.layers == ("x", "y")


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("toy-maen", r"unknown model 'toy-maen' \(did you mean 'toy-mean'\?\)"),
        ("toy-mean:gian=2", r"model 'toy-mean' has no parameter 'gian' \(did you mean 'gain'\?\)"),
        ("toy-mean:gain=-2", "'gain' cannot be '-2'"),
        ("none", "model"),
        (3, "'detector' cannot be 3: .*model"),
        ({"gain": 2}, "'detector' cannot be .*name"),
    ],
)
def test_mistakes_in_a_nested_component(catalogue: Catalogue, written: Any, reason: str) -> None:
    with pytest.raises(UserError, match=reason) as error:
        wrapped(catalogue, detector=written)
    assert "\n" not in str(error.value)
