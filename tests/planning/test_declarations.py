"""What a component declares, as a plan checks it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VGG

import probes
import toys
from adbench_harness.errors import ContractError
from adbench_harness.planning import declarations, plugins
from adbench_harness.planning.components import Components
from adbench_harness.planning.grammar import Wanted
from adbench_harness.types import (
    COMPONENTS,
    AnomalyMap,
    Batch,
    Component,
    Dataset,
    FeatureRequest,
    InputSpec,
    Model,
    Outputs,
    Preprocessor,
    Sample,
    Scorer,
    Scores,
    Tools,
    TrainSet,
)
from installed import in_tree


class Sound(Model):
    """A model that declares what it must, and nothing else."""

    name: ClassVar[str] = "mine"
    summary: ClassVar[str] = "Mine."
    version: ClassVar[int] = 1
    emits = frozenset({AnomalyMap})
    input = InputSpec(32, None)

    def fit(self, train: TrainSet, tools: Tools) -> None:
        pass

    def predict(self, batch: Batch) -> Outputs:
        raise NotImplementedError


class SoundScorer(Scorer):
    name: ClassVar[str] = "mine"
    summary: ClassVar[str] = "Mine."
    version: ClassVar[int] = 1
    accepts = frozenset({AnomalyMap})

    def score(self, outputs: Outputs) -> Scores:
        raise NotImplementedError


class SoundData(Dataset):
    name: ClassVar[str] = "mine"
    summary: ClassVar[str] = "Mine."
    version: ClassVar[int] = 1
    license: ClassVar[str] = "MIT"

    def categories(self, root: Path) -> Sequence[str]:
        return []

    def samples(self, root: Path, category: str, split_seed: int) -> Sequence[Sample]:
        return []


class SoundPreprocessor(Preprocessor):
    name: ClassVar[str] = "mine"
    summary: ClassVar[str] = "Mine."
    version: ClassVar[int] = 1

    def __call__(self, image: Any) -> Any:
        return image


KINDS = {
    "model": Sound,
    "scorer": SoundScorer,
    "dataset": SoundData,
    "preprocessor": SoundPreprocessor,
}


def check(kind: str, component: type) -> None:
    declarations.check_class(kind, component)
    declarations.check_instance(kind, component())


def refused(kind: str, component: type) -> str:
    with pytest.raises(ContractError) as error:
        check(kind, component)
    message = str(error.value)
    assert "\n" not in message
    return message


def variant(kind: str, **own: Any) -> type:
    """A sound component with further class attributes, as its author would write them."""
    return type("Mine", (KINDS[kind],), own)


def assigning(kind: str, **own: Any) -> type:
    """A sound component that sets further attributes in its constructor."""

    return variant(kind, __init__=lambda self: vars(self).update(own))


# ---------------------------------------------------------------- sound


@pytest.mark.parametrize("kind", KINDS)
def test_what_must_be_declared_suffices(kind: str) -> None:
    check(kind, KINDS[kind])


@pytest.mark.parametrize("plugin", [*in_tree(), toys.__file__, probes.__file__])
def test_no_component_in_the_tree_is_refused(plugin: str) -> None:
    catalogue = plugins.load([plugin])
    components = Components(catalogue)
    checked = 0
    for kind in COMPONENTS:
        for component in catalogue.brought(kind, [*catalogue.named, "basic"]):
            choice = components.resolve(kind, Wanted(component.name))
            assert isinstance(components.get(kind, choice), Component)
            checked += 1
    assert checked


class Network(nn.Module):
    """An ordinary network: a sub-module ``features`` as VGG has it, no constructor."""

    name, summary, version = "network", "A network.", 1
    emits = frozenset({AnomalyMap})
    input = InputSpec(32, None)
    features = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(1)

    def fit(self, train: TrainSet, tools: Tools) -> None:
        pass

    def predict(self, batch: Batch) -> Outputs:
        raise NotImplementedError


class Vgg(VGG):
    """A network of torchvision's with what a model needs beside it."""

    name, summary, version = "vgg", "VGG.", 1
    emits = frozenset({AnomalyMap})
    input = InputSpec(32, None)

    def __init__(self, *, classes: int = 2) -> None:
        super().__init__(nn.Sequential(nn.Conv2d(3, 4, 1)), num_classes=classes)
        self.weight = nn.Parameter(torch.ones(1))
        self.inputs = self.outputs = self.names = None

    def fit(self, train: TrainSet, tools: Tools) -> None:
        pass

    def predict(self, batch: Batch) -> Outputs:
        raise NotImplementedError


@pytest.mark.parametrize("component", [Network, Vgg])
def test_an_ordinary_network_is_a_model(component: type) -> None:
    completed = declarations.completed("model", component)
    check("model", completed)
    assert completed.__name__ == component.__name__
    assert isinstance(completed(), Model)
    assert not hasattr(component, "transductive")


@pytest.mark.parametrize(
    "own",
    [
        {"weight": 0.5, "names": ["a"], "layer": 3, "inputs": [1], "fitted": False},
        {"_feature_requests": 3, "_transductiv": True},
        {"learn": 0.1, "prediction": None},
    ],
)
def test_names_of_the_authors_own_are_fine(own: dict[str, Any]) -> None:
    check("model", variant("model", **own))
    check("model", assigning("model", **own))


def test_a_parameter_may_have_any_name() -> None:
    class Mine(Sound):
        def __init__(self, *, transductives: bool = True) -> None:
            self.transductives = transductives

    check("model", Mine)


def test_members_set_by_the_constructor_or_by_a_property() -> None:
    check(
        "model", assigning("model", input=InputSpec(64, None), protocols=frozenset({"zero-shot"}))
    )
    check("model", variant("model", emits=property(lambda _: frozenset({AnomalyMap}))))


# ---------------------------------------------------------------- lacking


@pytest.mark.parametrize(
    ("kind", "lacking"), [("model", "predict"), ("scorer", "score"), ("dataset", "categories")]
)
def test_a_method_that_is_missing(kind: str, lacking: str) -> None:
    own = {k: v for k, v in vars(KINDS[kind]).items() if not k.startswith("_") and k != lacking}
    base = COMPONENTS[kind]
    assert refused(kind, type("Mine", (base,), own)) == (
        f"{kind} 'mine' lacks {lacking}; adbench_harness.types.{base.__name__} describes each"
    )


@pytest.mark.parametrize(
    ("kind", "lacking"), [("model", "input"), ("scorer", "accepts"), ("dataset", "license")]
)
def test_an_attribute_that_is_missing(kind: str, lacking: str) -> None:
    own = {k: v for k, v in vars(KINDS[kind]).items() if not k.startswith("_") and k != lacking}
    assert f"{kind} 'mine' lacks {lacking}; " in refused(
        kind, type("Mine", (COMPONENTS[kind],), own)
    )


def test_what_a_property_raises_is_not_called_missing() -> None:
    def broken(self: Any) -> InputSpec:
        return self.nothing  # type: ignore[no-any-return]

    component = variant("model", input=property(broken))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        check("model", component)


# ---------------------------------------------------------------- misspelt


def method(self: Any, *_: Any) -> None: ...


MISSPELT = [
    ("model", "learnt", method, "learned"),
    ("model", "transductiv", True, "transductive"),
    ("scorer", "transductiv", True, "transductive"),
    ("model", "transductiv", property(method), "transductive"),
    ("model", "transductiv", cached_property(method), "transductive"),
    ("model", "defaults", False, "default"),
    ("preprocessor", "fits", method, "fit"),
    ("scorer", "fits", classmethod(method), "fit"),
    ("model", "feature_request", (FeatureRequest("resnet18", ("layer1",)),), "feature_requests"),
    ("model", "feature_request", FeatureRequest("resnet18", ("layer1",)), "feature_requests"),
    ("dataset", "licence", "MIT", "license"),
    ("dataset", "archive", (), "archives"),
    ("model", "augmentations", "required", "augmentation"),
    ("model", "protocol", frozenset({"zero-shot"}), "protocols"),
]


@pytest.mark.parametrize(("kind", "name", "value", "meant"), MISSPELT)
def test_a_misspelt_member_names_the_one_that_was_meant(
    kind: str, name: str, value: Any, meant: str
) -> None:
    assert refused(kind, variant(kind, **{name: value})) == (
        f"{kind} 'mine': '{name}' is not a member that the harness knows; did you mean "
        f"'{meant}'? (otherwise rename it or let its name begin with '_')"
    )


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("transductiv", True, "transductive"),
        ("feature_request", (FeatureRequest("resnet18", ("layer1",)),), "feature_requests"),
        ("extra", ["depth"], "extras"),
    ],
)
def test_a_misspelt_attribute_of_the_constructor(name: str, value: Any, meant: str) -> None:
    assert f"'{name}' is not a member" in (
        text := refused("model", assigning("model", **{name: value}))
    )
    assert f"did you mean '{meant}'?" in text


def test_feature_requests_under_another_name() -> None:
    requests = [FeatureRequest("resnet18", ("layer1",))]
    assert refused("model", assigning("model", wanted=requests)) == (
        "model 'mine': attribute 'wanted' holds feature requests, but feature_requests is empty; "
        "rename it to feature_requests"
    )
    check("model", assigning("model", wanted=requests, feature_requests=tuple(requests)))


def test_the_spelling_of_others_is_not_the_authors_mistake() -> None:
    """What a framework's base class defines, such as ``VGG`` above, is not looked at."""
    base = type("Base", (), {"transductiv": True, "__module__": "framework.models"})
    check("model", type("Mine", (base, Sound), {}))


# ---------------------------------------------------------------- of another type


@pytest.mark.parametrize(
    ("kind", "name", "value", "reason"),
    [
        ("model", "emits", [AnomalyMap], "emits cannot be [<class"),
        ("model", "emits", frozenset({int}), "emits cannot be <class 'int'>"),
        ("model", "input", 224, "input cannot be 224"),
        ("model", "protocols", frozenset({"few-shot"}), "protocols cannot be 'few-shot'"),
        ("model", "protocols", "unsupervised", "protocols cannot be 'unsupervised'"),
        ("model", "augmentation", "maybe", "augmentation cannot be 'maybe'"),
        ("model", "feature_requests", [], "feature_requests cannot be []"),
        ("model", "transductive", "yes", "transductive cannot be 'yes'"),
        ("model", "auxiliary", "dtd", "auxiliary cannot be 'dtd'"),
        ("scorer", "accepts", {AnomalyMap}, "accepts cannot be {<class"),
        ("dataset", "license", None, "license cannot be None"),
        ("dataset", "mask_threshold", "127", "mask_threshold cannot be '127'"),
    ],
)
def test_a_wrong_type_is_named(kind: str, name: str, value: Any, reason: str) -> None:
    for component in (variant(kind, **{name: value}), assigning(kind, **{name: value})):
        assert refused(kind, component).startswith(f"{kind} 'mine': {reason}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("presets", ["smoke"]),
        ("default", "no"),
        ("xfail", {"check"}),
        ("presets", property(method)),
    ],
)
def test_a_wrong_type_of_a_class_is_named_before_anything_is_built(name: str, value: Any) -> None:
    with pytest.raises(ContractError, match=f"model 'mine': {name} cannot be "):
        declarations.check_class("model", variant("model", **{name: value}))


def test_a_long_value_is_shortened() -> None:
    text = refused("model", variant("model", emits=["x" * 10_000, "\n"]))
    assert len(text) < 500


# ---------------------------------------------------------------- kinds


def test_the_kind_of_a_class() -> None:
    assert {kind: declarations.kind_of(component) for kind, component in KINDS.items()} == {
        kind: kind for kind in KINDS
    }
    assert declarations.kind_of(Network) == "model"
    with pytest.raises(TypeError, match="is not a component: derive it from one of Augmenter"):
        declarations.kind_of(int)


def test_members_of_a_kind() -> None:
    assert set(declarations.members("scorer")) >= {"name", "accepts", "fit", "score", "rebuild"}
    assert declarations.members("scorer")["score"] is None
    assert declarations.members("scorer")["transductive"] is bool
    assert "__call__" in declarations.members("preprocessor")


def test_a_class_is_completed_once() -> None:
    assert declarations.completed("model", Network) is declarations.completed("model", Network)
    assert declarations.completed("model", Sound) is Sound
