from __future__ import annotations

import json

import pytest

from adbench_harness.cli import main


@pytest.fixture
def shown(capsys):
    def show(*arguments):
        assert main(["show", *arguments]) == 0
        return capsys.readouterr().out

    return show


def test_a_model_with_its_parameters(shown, toys):
    text = shown("toy-mean", "--plugins", toys)
    lines = [line.split(maxsplit=1) for line in text.splitlines()]
    assert lines[0] == ["model", "toy-mean: Distance to the mean image."]
    facts = dict(line for line in lines[1:] if len(line) == 2)
    assert facts["emits"] == "AnomalyMap, ImageScore"
    assert facts["input"] == "32 px (keep aspect)"
    assert facts["protocols"] == "unsupervised"
    assert facts["augmenter"] == "none"
    assert facts["gain"].split(maxsplit=2) == ["float", "1.0", "factor of the scores"]


def test_a_name_of_two_kinds_shows_both_or_the_one_asked_for(shown, toys):
    both = shown("toy-raises", "--plugins", toys)
    assert "model toy-raises:" in both
    assert "scorer toy-raises:" in both
    one = shown("scorer:toy-raises", "--plugins", toys)
    assert one.startswith("scorer toy-raises:")
    assert "model toy-raises:" not in one


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mvtec_ad", ("license    CC BY-NC-SA 4.0", "role       benchmark", "paper ")),
        ("resnet18", ("layers     layer1, layer2, layer3, layer4, avgpool", "non-commercial")),
        ("aupro", ("metric aupro: Mean per-region overlap", "version    1")),
        ("map", ("accepts    AnomalyMap", "mean | max")),
    ],
)
def test_every_kind_says_what_matters(shown, name, words):
    text = shown(name)
    assert all(word in text for word in words), text


def test_every_installed_component_can_be_shown(shown, capsys):
    main(["list", "--components", "--json"])
    for row in json.loads(capsys.readouterr().out):
        assert f"{row['kind']} {row['name']}: " in shown(f"{row['kind']}:{row['name']}")


def test_the_nearest_name_is_offered(error):
    assert "no component 'aupr' (did you mean 'aupro'?)" in error("show", "aupr")


def test_a_broken_component_is_named(error, plugin_file):
    body = (
        "from adbench_harness.types import Model\n"
        "class Mine(Model):\n    name, summary, version = 'mine', 'Mine.', 1\n"
        "@hookimpl\ndef adbench_models(): return [Mine]"
    )
    line = error("show", "mine", "--plugins", plugin_file("mine", body))
    assert "error: model 'mine' is broken: model 'mine' lacks fit, predict; " in line
