"""The reference names what the code has; docs' pages are held to it by test_docs.py."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re

import pytest

from adbench_harness import hookspecs, nn, types
from adbench_harness.cli import main
from adbench_harness.evaluation import Evaluation
from adbench_harness.metrics.ranking import Ranking
from adbench_harness.planning import parameters


@pytest.fixture
def reference(capsys):
    def printed(*arguments):
        assert main(["reference", *arguments]) == 0
        return capsys.readouterr().out

    return printed


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


@pytest.fixture
def contract(reference):
    """The text of each section of the page of hooks and types, by its heading."""
    text = reference("hooks")
    return dict(re.findall(r"^##+ (.+)\n\n((?:(?!##).*\n)*)", text, re.MULTILINE))


def rows(section):
    """The rows of a section's table: the cells by column, without code marks."""
    table = [
        [cell.strip().replace("`", "").replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)]
        for line in section.splitlines()
        if line.startswith("|")
    ]
    header, _, *body = table or [[], []]
    return [dict(zip(header[1:-1], row[1:-1], strict=True)) for row in body]


def test_the_contract_has_every_hook(contract):
    for name in vars(hookspecs):
        if name.startswith("adbench_"):
            said = inspect.getdoc(getattr(hookspecs, name)).replace("``", "`")
            assert said in contract[f"`{name}`"]
    observer = contract["`adbench_trial_finished`"]
    assert "`adbench_trial_finished(result: TrialResult) -> Any`" in observer


def test_the_contract_has_every_type_and_field(contract):
    classes = [
        value
        for value in vars(types).values()
        if inspect.isclass(value) and value.__module__ == types.__name__
    ]
    for cls in (*classes, Evaluation, Ranking):
        section = contract[f"`{cls.__name__}`"]
        assert inspect.getdoc(cls).partition("\n")[0].replace("``", "`") in section
        shown = {row["member"].partition("(")[0] for row in rows(section)}
        assert shown >= {name for name in inspect.get_annotations(cls) if not name.startswith("_")}
        methods = {n for n, value in vars(cls).items() if inspect.isfunction(value)}
        assert shown >= {name for name in methods if not name.startswith("_")}
    ports = [cls for cls in classes if issubclass(cls, types.Port) and cls is not types.Port]
    assert all("Derives from `Port`" in contract[f"`{port.__name__}`"] for port in ports)


@pytest.mark.parametrize("base", [types.Component, *types.COMPONENTS.values()])
def test_every_member_of_a_base_class_has_its_type_default_and_meaning(base, contract):
    found = {row["member"].partition("(")[0]: row for row in rows(contract[f"`{base.__name__}`"])}
    members = {*inspect.get_annotations(base)} | {
        name
        for name, value in vars(base).items()
        if inspect.isfunction(value) and (name == "__call__" or not name.startswith("_"))
    }
    assert set(found) == members
    for name, row in found.items():
        value = getattr(base, name, None)
        assert row["meaning"], f"{base.__name__}.{name} has no docstring"
        needed = getattr(value, "__isabstractmethod__", False) or not hasattr(base, name)
        assert (row["default"] == "must be defined") == needed
        if inspect.isfunction(value):
            assert row["type"] == value.__annotations__["return"]
        else:
            annotation = inspect.get_annotations(base)[name]
            assert row["type"] == re.sub(r"^ClassVar\[(.*)\]$", r"\1", annotation)
            if not needed:
                assert eval(row["default"], vars(types)) == value


def test_what_a_plugin_may_import_is_told(contract):
    shown = [row["module"] for row in rows(contract["What a plugin may import"])]
    assert shown == [f"adbench_harness.{name}" for name in hookspecs.PUBLIC]
    assert all(row["meaning"] for row in rows(contract["What a plugin may import"]))


def test_what_methods_share_is_told_to_the_last_function(reference):
    text = reference("nn")
    names = [module.name for module in pkgutil.iter_modules(nn.__path__)]
    assert re.findall(r"^## `adbench_harness\.nn\.(\w+)`", text, re.MULTILINE) == sorted(names)
    shown = {row["name"].partition("(")[0]: row["meaning"] for row in rows(text)}
    for name in names:
        module = importlib.import_module(f"{nn.__name__}.{name}")
        for public, value in vars(module).items():
            if getattr(value, "__module__", None) != module.__name__ or public.startswith("_"):
                continue
            if inspect.isclass(value) or inspect.isfunction(value):
                first = " ".join(inspect.getdoc(value).partition("\n\n")[0].split())
                assert shown[public] == first.replace("``", ""), public
    assert shown["Neighbours.search"].startswith("Squared distances [Q, k]")
    assert shown["Sigma"] == "a parameter: Gaussian smoothing of the map in input px"
