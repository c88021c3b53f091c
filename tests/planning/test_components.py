from __future__ import annotations

from typing import Any

import pytest

from adbench_harness.errors import UserError
from adbench_harness.planning.components import BrokenError, Components, guarded
from adbench_harness.planning.grammar import Wanted
from adbench_harness.results.store import Failure

BODY = """
from toys import ToyModel


class Breaks(ToyModel):
    name = "breaks"
    built = 0

    def __init__(self) -> None:
        type(self).built += 1
        raise RuntimeError("it broke")


@hookimpl
def adbench_models():
    return [Breaks]
"""


@pytest.fixture
def components(plugin_file: Any, toys: str) -> Components:
    from adbench_harness.planning import plugins

    return Components(plugins.load([toys, plugin_file("breaking", BODY)]))


def test_a_choice_is_built_once(components: Components) -> None:
    choice = components.resolve("model", Wanted("toy-mean", {"gain": "2"}))
    other = components.resolve("model", Wanted("toy-mean"))
    assert components.get("model", choice) is components.get("model", choice)
    assert components.get("model", choice) is not components.get("model", other)
    assert not components.is_broken("model", choice)


def test_a_component_that_fails_is_tried_once_and_stays_broken(components: Components) -> None:
    choice = components.resolve("model", Wanted("breaks"))
    for _ in range(2):
        with pytest.raises(BrokenError, match="it broke") as caught:
            components.get("model", choice)
        assert caught.value.failure.stage == "plan"
        assert "Traceback" in caught.value.failure.traceback
    assert components.is_broken("model", choice)
    assert components.catalogue.get("model", "breaks").built == 1


def test_a_component_can_be_declared_broken(components: Components) -> None:
    choice = components.resolve("model", Wanted("toy-mean"))
    components.fail("model", choice, Failure("plan", "its backbone is broken", ""))
    with pytest.raises(BrokenError, match="its backbone is broken"):
        components.get("model", choice)


def test_mistakes_of_the_user_are_not_the_components(components: Components) -> None:
    with pytest.raises(UserError, match="has no parameter 'gains'"):
        components.resolve("model", Wanted("toy-mean", {"gains": "2"}))
    with pytest.raises(UserError, match="correct your file"), guarded():
        raise UserError("correct your file")
    with pytest.raises(BrokenError, match="ZeroDivisionError"), guarded():
        _ = 1 / 0
