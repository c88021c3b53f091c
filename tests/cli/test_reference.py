"""The reference names what the code has; docs' pages are held to it by test_docs.py."""

from __future__ import annotations

import ast
import inspect
import re

import pytest

from adbench_harness import hookspecs, types
from adbench_harness.cli import main
from adbench_harness.planning import parameters


@pytest.fixture
def reference(capsys):
    def print_(*arguments):
        assert main(["reference", *arguments]) == 0
        return capsys.readouterr().out

    return print_


def test_the_catalogue_has_every_component_and_parameter(reference, toys, catalogue):
    text = reference("catalogue", "--plugins", toys)
    sections = dict(re.findall(r"^### (.+)\n\n((?:(?!##).*\n)*)", text, re.MULTILINE))
    offers = [offer for by_name in catalogue.offers.values() for offer in by_name.values()]
    assert set(sections) == {f"{offer.kind} `{offer.name}`" for offer in offers}
    for offer in offers:
        section = sections[f"{offer.kind} `{offer.name}`"]
        assert section.startswith(offer.component.summary)
        if offer.kind not in ("metric", "recipe"):
            for parameter in parameters.parameters(offer.component).values():
                assert f"| `{parameter.name}`" in section
                assert parameter.meaning in section
        for fact in ("paper", "license"):
            assert (getattr(offer.component, fact, None) or "") in section
    assert re.findall(r"^## (.+)", text, re.MULTILINE) == ["basic", "toys"]


def test_every_row_of_a_table_has_its_cells(reference):
    for line in reference("catalogue", "--plugins", "twostage,patchcore").splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 5, line


def test_presets_and_recipes_say_what_they_set(reference):
    text = reference("catalogue", "--plugins", "padim,twostage")
    assert "- preset smoke: size=48, width=4, batch=2, steps=6" in text
    assert "- models: padim:dimensions=100\n- backbone: resnet18" in text


def test_the_contract_has_every_hook_and_type(reference):
    text = reference("hooks")
    hooks = {name for name in vars(hookspecs) if name.startswith("adbench_")}
    classes = {node.name for node in ast.parse(inspect.getsource(types)).body if is_class(node)}
    expected = hooks | classes | {"Evaluation"}
    assert set(re.findall(r"^### `(\w+)`", text, re.MULTILINE)) == expected
    assert "- `of_defects(*defects: str) -> Evaluation`: " in text
    assert "- `pixels: Ranking`: All pixels" in text
    assert "- `_" not in text.replace("- `__", "")
    assert "`adbench_trial_finished(result: TrialResult) -> Any`" in text
    assert "- `size: tuple[int, int]`: Height and width of the input in px." in text
    assert "- `images: Tensor`" in text
    for name in hooks:
        assert inspect.getdoc(getattr(hookspecs, name)).replace("``", "`") in text


def is_class(node):
    return isinstance(node, ast.ClassDef)
