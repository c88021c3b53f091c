"""Each conformance check catches one who breaks the promise, and nobody who keeps it."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from adbench_harness import testing
from adbench_harness.basic.metrics import METRICS
from adbench_harness.errors import ContractError, UserError
from adbench_harness.planning.plugins import load
from adbench_harness.types import (
    AnomalyMap,
    Archive,
    Augmented,
    FeatureRequest,
    ImageScore,
    InputSpec,
    Level,
    Outputs,
    Port,
    Scores,
)

pytest_plugins = ["pytester"]

FILES = [str(Path(__file__).parent.with_name(name)) for name in ("toys.py", "probes.py")]
CATALOGUE = load(FILES)
DataSet = CATALOGUE.get("dataset", "toy-data")
Dim = CATALOGUE.get("preprocessor", "toy-dim")
Squares = CATALOGUE.get("augmenter", "toy-square")
Mean = CATALOGUE.get("model", "toy-mean")
Classes = CATALOGUE.get("model", "toy-classes")
Features = CATALOGUE.get("model", "probe-features")
Map = CATALOGUE.get("scorer", "toy-map")
Fitted = CATALOGUE.get("scorer", "toy-fitted")
Network = CATALOGUE.get("backbone", "probe-backbone")
AUROC = next(metric for metric in METRICS if metric.name == "image_auroc")
SOUND = (DataSet, Dim, Squares, Mean, Classes, Map, Fitted, Network, AUROC)


def checks(component):
    return dict(testing.checks(component, [Map]))


@pytest.mark.parametrize("component", SOUND, ids=lambda component: component.name)
def test_who_keeps_the_promises_passes(component):
    passed = 0
    for check in checks(component).values():
        try:
            check(component)
            passed += 1
        except testing.Skipped:
            pass
    assert passed >= 4


# ---------------------------------------------------------------- offenders

OFFENDERS = []


def offends(kind, *names):
    """Registers an offender with the checks that must catch it."""

    def register(component):
        OFFENDERS.extend((kind, name, component) for name in names)
        return component

    return register


@offends("model", "says_what_it_is")
class Nameless(Mean):
    summary = ""


@offends("model", "constructs_without_arguments")
class Demanding(Mean):
    def __init__(self, gain) -> None:
        self.gain = gain


@offends("scorer", "constructs_without_arguments")
class Careless(Map):
    def __init__(self) -> None:
        raise RuntimeError("not today")


def _method(self):
    """Of a name that is nearly a member's."""


MISSPELT = (
    ("dataset", DataSet, "licence", "CC0", "license"),
    ("dataset", DataSet, "sample", _method, "samples"),
    ("preprocessor", Dim, "fits", _method, "fit"),
    ("augmenter", Squares, "augments", _method, "augment"),
    ("model", Mean, "learnt", _method, "learned"),
    ("model", Mean, "transductiv", True, "transductive"),
    ("model", Mean, "defaults", False, "default"),
    ("model", Mean, "feature_request", (), "feature_requests"),
    ("model", Mean, "features_requests", (), "feature_requests"),
    ("scorer", Map, "fits", _method, "fit"),
    ("scorer", Map, "transductiv", True, "transductive"),
    ("backbone", Network, "layer", ("fine",), "layers"),
)
for kind, sound, name, value, _ in MISSPELT:
    misspelt = type(f"{sound.__name__}_{name}", (sound,), {name: value, "__module__": __name__})
    offends(kind, "declares_what_it_means")(misspelt)


@pytest.mark.parametrize(("kind", "sound", "name", "value", "meant"), MISSPELT)
def test_a_misspelt_member_is_told_with_the_name_that_was_meant(kind, sound, name, value, meant):
    offender = type("Misspelt", (sound,), {name: value, "__module__": __name__})
    with pytest.raises(ContractError, match=f"'{name}' is not a member .* mean '{meant}'"):
        checks(offender)["declares_what_it_means"](offender)


@offends("model", "declares_what_it_means")
class RequestsByAnotherName(Mean):
    def __init__(self) -> None:
        super().__init__()
        self.backbone_layers = FeatureRequest("resnet18", ("layer1",))


@offends("model", "declares_what_it_means")
class EmitsAList(Mean):
    emits = [AnomalyMap]  # noqa: RUF012


@offends("scorer", "declares_what_it_means")
class AcceptsAString(Map):
    accepts = "AnomalyMap"


@offends("dataset", "lists_samples")
class ListsTwice(DataSet):
    def samples(self, root, category, split_seed):
        found = super().samples(root, category, split_seed)
        return [*found, found[0]]


@offends("dataset", "lists_samples")
class ListsWhatIsNotThere(DataSet):
    def samples(self, root, category, split_seed):
        first, *found = super().samples(root, category, split_seed)
        return [replace(first, image=root / "none.png"), *found]


@offends("dataset", "lists_samples")
class MasksNormals(DataSet):
    def samples(self, root, category, split_seed):
        first, *found = super().samples(root, category, split_seed)
        return [replace(first, label=0, masks=(first.image,)), *found]


@offends("dataset", "lists_the_same_twice")
class Shuffles(DataSet):
    def samples(self, root, category, split_seed):
        found = super().samples(root, category, split_seed)
        return [found[i] for i in np.random.default_rng().permutation(len(found))]


@offends("dataset", "says_where_it_comes_from")
class ComesFromNowhere(DataSet):
    archives = (Archive(None, file="data.zip"),)


@offends("dataset", "says_where_it_comes_from")
class HasNoChecksum(DataSet):
    archives = (Archive("https://example.org/data.zip", sha256="see the page"),)


@offends("dataset", "publishes_counts")
class PublishesNothing(DataSet):
    def published(self):
        return {"dark": 0}


@offends("dataset", "publishes_counts")
class KnowsAnotherCategory(DataSet):
    empty_masks = {"bright": 1}  # noqa: RUF012

    def published(self):
        return {"dark": 12}


@offends("preprocessor", "keeps_geometry")
class Halves(Dim):
    def __call__(self, image):
        return image[::2]


@offends("preprocessor", "keeps_geometry")
class Floats(Dim):
    def __call__(self, image):
        return image / 255


@offends("preprocessor", "same_result_twice")
class Noisy(Dim):
    def __call__(self, image):
        return np.random.default_rng().integers(0, 256, image.shape, dtype=np.uint8)


@offends("preprocessor", "leaves_its_input_alone")
class WritesIntoImage(Dim):
    def __call__(self, image):
        image //= 2
        return image


@offends("preprocessor", "refit_forgets")
class RemembersNormals(Dim):
    level = 0

    def fit(self, images):
        self.level = (self.level + sum(int(image.mean()) for image in images)) % 256

    def __call__(self, image):
        return np.full_like(image, self.level)


@offends("augmenter", "changes_nothing_outside_its_mask")
class Brightens(Squares):
    def augment(self, batch, generator):
        made = super().augment(batch, generator)
        return replace(made, images=(made.images + 0.01).clamp(0, 1))


@offends("augmenter", "shapes_and_types")
class MasksAsNumbers(Squares):
    def augment(self, batch, generator):
        made = super().augment(batch, generator)
        return replace(made, masks=made.masks.float())


@offends("augmenter", "shapes_and_types")
class TooBright(Squares):
    def augment(self, batch, generator):
        made = super().augment(batch, generator)
        return replace(made, images=2 * made.images)


@offends("augmenter", "shapes_and_types")
class CallsAllClean(Squares):
    def augment(self, batch, generator):
        made = super().augment(batch, generator)
        return replace(made, kind=torch.zeros_like(made.kind))


@offends("augmenter", "shapes_and_types", "same_seed_same_result")
class DoesNothing(Squares):
    def augment(self, batch, generator):
        none = torch.zeros(len(batch), *batch.images.shape[2:], dtype=torch.bool)
        return Augmented(batch.images, none, torch.zeros(len(batch), dtype=torch.int64))


def _chance():
    return int(np.random.default_rng().integers(2**31))


@offends("augmenter", "same_seed_same_result")
class IgnoresTheGenerator(Squares):
    def augment(self, batch, generator):
        return super().augment(batch, torch.Generator().manual_seed(_chance()))


@offends("augmenter", "leaves_its_input_alone")
class AugmentsInPlace(Squares):
    def augment(self, batch, generator):
        made = super().augment(batch, generator)
        return replace(made, images=batch.images.copy_(made.images))


class Altered(Mean):
    """The sound model with its distances [B, 32, 32] altered."""

    def alter(self, distance):
        return distance

    def predict(self, batch):
        distance = self.alter(super().predict(batch)[AnomalyMap].levels[0].values)
        return Outputs((32, 32), AnomalyMap((Level(distance),)), ImageScore(distance.amax((1, 2))))


@offends("model", "shapes_and_types")
class ForgetsAPort(Mean):
    def predict(self, batch):
        return Outputs((32, 32), super().predict(batch)[AnomalyMap])


@offends("model", "shapes_and_types")
class MisstatesItsInput(Mean):
    input = InputSpec(64, None)

    def fit(self, train, tools):
        super().fit(train, tools)


@offends("model", "shapes_and_types")
class NotANumber(Altered):
    def alter(self, distance):
        return distance / 0


@offends("model", "same_seed_same_result")
class Unseeded(Altered):
    def fit(self, train, tools):
        super().fit(train, tools)
        self.scale = 1 + np.random.default_rng().random()

    def alter(self, distance):
        return self.scale * distance


@offends("model", "subset_invariance")
class NormalisesByTheBatch(Altered):
    def alter(self, distance):
        return distance / distance.mean()


@offends("model", "order_invariance", "subset_invariance")
class CountsThePlace(Altered):
    def alter(self, distance):
        return distance + torch.arange(len(distance))[:, None, None]


@offends("model", "leaves_its_input_alone")
class WritesIntoBatch(Mean):
    def predict(self, batch):
        batch.images.sub_(self.mean)
        return super().predict(batch)


@offends("model", "refit_forgets")
class RemembersItsFirstFit(Mean):
    def fit(self, train, tools):
        if not hasattr(self, "mean"):
            super().fit(train, tools)


class OfAnySize(Mean):
    """The sound model on inputs of any size."""

    def __init__(
        self, *, resize: int | tuple[int, int] = 32, crop: int | tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        self.input = InputSpec(resize, crop)

    def predict(self, batch):
        size = tuple(batch.images.shape[2:])
        return Outputs(size, *super().predict(batch).ports.values())


@offends("model", "rectangular_input")
class ForgetsTheWidth(OfAnySize):
    def predict(self, batch):
        height = batch.images.shape[2]
        return Outputs((height, height), *super().predict(batch).ports.values())


@offends("model", "rectangular_input")
class WantsSquares(OfAnySize):
    def fit(self, train, tools):
        super().fit(train, tools)
        self.mean = (self.mean + self.mean.mT) / 2


@offends("model", "same_result_twice")
class LearnsFromWhatItSees(Altered):
    def alter(self, distance):
        self.mean = self.mean + 0.1 * distance.mean()
        return distance


@offends("model", "reload_predicts_the_same")
class KeepsAFunction(Altered):
    def fit(self, train, tools):
        super().fit(train, tools)
        scale = float(self.mean.mean())
        self.scaled = lambda distance: distance * scale

    def alter(self, distance):
        return self.scaled(distance)


@offends("model", "reload_predicts_the_same")
class DoesNotRebuild(Altered):
    def fit(self, train, tools):
        super().fit(train, tools)
        self.last = nn.Conv2d(1, 1, 1)

    def alter(self, distance):
        return self.last(distance[:, None])[:, 0]


@offends("model", "reload_predicts_the_same")
class HidesStateInAModule(Altered):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Identity()

    def fit(self, train, tools):
        super().fit(train, tools)
        self.last.scale = 2.0

    def alter(self, distance):
        return distance * getattr(self.last, "scale", 1)


@offends("scorer", "reload_predicts_the_same")
class KeepsAnObject(Fitted):
    def fit(self, outputs, generator):
        super().fit(outputs, generator)
        self.seen = object()


@offends("model", "planted_blob_scores_above_normal")
class UpsideDown(Altered):
    def alter(self, distance):
        return -distance


@offends("model", "planted_blob_scores_above_normal")
class SeesTheImageButNotWhere(Altered):
    def alter(self, distance):
        return distance.amax((1, 2), keepdim=True) - distance / 2


@offends("scorer", "shapes_and_types")
class AColumnTooMany(Map):
    def score(self, outputs):
        return Scores(super().score(outputs).image[:, None])


@offends("scorer", "shapes_and_types")
class Doubles(Map):
    def score(self, outputs):
        return Scores(super().score(outputs).image.double())


@offends("scorer", "same_result_twice")
class Dices(Map):
    def score(self, outputs):
        scores = super().score(outputs)
        return Scores(scores.image + torch.rand(len(scores.image)))


@offends("scorer", "subset_and_order_invariance")
class NormalisesScores(Map):
    def score(self, outputs):
        scores = super().score(outputs)
        return Scores(scores.image / scores.image.max())


@offends("scorer", "leaves_its_input_alone")
class WritesIntoOutputs(Map):
    def score(self, outputs):
        outputs[AnomalyMap].levels[0].values.mul_(2)
        return super().score(outputs)


@offends("scorer", "planted_defect_scores_higher")
class Blind(Map):
    def score(self, outputs):
        return Scores(torch.zeros(len(super().score(outputs).image)))


@offends("scorer", "planted_defect_scores_higher")
class SeesWhoButNotWhere(Map):
    def score(self, outputs):
        scores = super().score(outputs)
        return Scores(scores.image, -scores.map)


@offends("backbone", "runs_every_layer")
class LacksALayer(Network):
    layers = ("fine", "coarse")

    def network(self, layers):
        return super().network(layers[:1])


class _BatchNormalised(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return {name: grid - grid.mean() for name, grid in self.network(images).items()}


@offends("backbone", "subset_invariance")
class LooksAtTheBatch(Network):
    def network(self, layers):
        return _BatchNormalised(super().network(layers))


def metric(name, compute, **kwargs):
    OFFENDERS.append(("metric", name, replace(AUROC, compute=compute, **kwargs)))


metric("says_what_it_is", AUROC.compute, summary="")
metric("is_a_number", lambda _: float("nan"))
metric("is_a_number", lambda _: 1.5)
metric("perfect_ranking_is_one", lambda evaluation: 0.99 * evaluation.images.auroc())
metric("interval_holds_the_number", AUROC.compute, interval=lambda _: (0.0, 0.1))
metric("constant_scores_are_chance", AUROC.compute, chance=lambda _: 0.7)
metric(
    "monotone_maps_change_nothing",
    lambda evaluation: float(((evaluation.scores > 0.5) == evaluation.labels).mean()),
)


@pytest.mark.parametrize(
    ("name", "component"),
    [offender[1:] for offender in OFFENDERS],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", "metric"),
)
def test_who_breaks_a_promise_is_caught(name, component):
    with pytest.raises(Exception) as caught:  # noqa: PT011  # whatever the offence leads to
        checks(component)[name](component)
    assert not isinstance(caught.value, testing.Skipped)


def test_every_check_has_an_offender():
    caught = {(kind, name) for kind, name, _ in OFFENDERS}
    for component in (DataSet, Dim, Squares, Mean, Map, Network, AUROC):
        kind = testing.kind_of(component)
        specific = set(checks(component)) - {"says_what_it_is", "constructs_without_arguments"}
        assert {(kind, name) for name in specific} <= caught


# ---------------------------------------------------------------- the way in


def test_kinds():
    for kind, component in (
        ("dataset", DataSet),
        ("preprocessor", Dim),
        ("augmenter", Squares),
        ("model", Mean),
        ("scorer", Map),
        ("backbone", Network),
        ("metric", AUROC),
    ):
        assert testing.kind_of(component) == kind
    with pytest.raises(TypeError, match="is not a component"):
        testing.kind_of(int)


def test_images_and_auxiliary_ones_come_in_the_size_of_the_input():
    class Borrows(OfAnySize):
        input = InputSpec((32, 48), None)

        def __init__(self) -> None:
            super().__init__()
            self.input = InputSpec((32, 48), None)

        def fit(self, train, tools):
            for images in (tools.auxiliary("textures"), train):
                assert next(images.batches()).images.shape[1:] == (3, 32, 48)
            super().fit(train, tools)

    assert passed(Borrows) >= {"shapes_and_types", "planted_blob_scores_above_normal"}


def passed(component):
    """The names of the checks that hold; a check that fails raises, the others are left out."""
    names = set()
    for name, check in checks(component).items():
        with contextlib.suppress(testing.Skipped):
            check(component)
            names.add(name)
    return names


def test_a_model_may_refuse_an_input_that_is_not_square():
    class WantsASquare(OfAnySize):
        def __init__(self, *, resize: int | tuple[int, int] = 32) -> None:
            super().__init__(resize=resize)
            if len(set(self.input.size)) > 1:
                raise ValueError("its grid is a square")

    check = checks(WantsASquare)["rectangular_input"]
    with pytest.raises(testing.Skipped, match="it refuses an input that is not square: its grid"):
        check(WantsASquare)


@pytest.mark.parametrize("attribute", ["transductive", "updates_in_predict"])
def test_a_model_is_excused_from_what_it_declares(attribute):
    class Declares(
        LearnsFromWhatItSees if attribute == "updates_in_predict" else NormalisesByTheBatch
    ):
        pass

    setattr(Declares, attribute, True)
    impossible = {"subset_invariance", "order_invariance"}
    if attribute == "updates_in_predict":
        impossible.add("same_result_twice")
    assert not passed(Declares) & impossible
    assert "reload_predicts_the_same" in passed(Declares)
    for name in impossible:
        with pytest.raises(testing.Skipped, match=f"as it declares \\({attribute}\\)"):
            checks(Declares)[name](Declares)


def test_a_scorer_that_looks_at_all_test_images_is_excused():
    class Declares(NormalisesScores):
        transductive = True

    with pytest.raises(testing.Skipped, match="transductive"):
        checks(Declares)["subset_and_order_invariance"](Declares)


def test_a_scorer_of_a_port_of_its_own_cannot_be_given_one():
    class Own(Port):
        pass

    class OfItsOwn(Map):
        accepts = frozenset({Own})

    with pytest.raises(testing.Skipped, match="the checks cannot make its port Own"):
        checks(OfItsOwn)["shapes_and_types"](OfItsOwn)


def test_a_model_that_wants_them_gets_categories_and_extras():
    class Wants(Mean):
        category_names = True
        extras = ("depth",)

        def fit(self, train, tools):
            assert train.categories == ("plate", "tile")
            for batch in train.batches():
                self._check(batch)
            super().fit(train, tools)

        def predict(self, batch):
            self._check(batch)
            return super().predict(batch)

        def _check(self, batch):
            assert len(batch.categories) == len(batch)
            assert set(batch.categories) <= {"plate", "tile"}
            grey = 255 * batch.images.mean(1, keepdim=True)
            torch.testing.assert_close(batch.extras["depth"], grey, atol=1, rtol=0)

    assert "order_invariance" in passed(Wants)

    class WantsNothing(Mean):
        def predict(self, batch):
            assert batch.categories == ()
            assert batch.extras == {}
            return super().predict(batch)

    assert "order_invariance" in passed(WantsNothing)


def test_a_zero_shot_model_is_fitted_on_no_image():
    class ZeroShot(Mean):
        protocols = frozenset({"zero-shot"})

        def fit(self, train, tools):
            assert len(train) == 0
            assert list(train.batches()) == []
            self.mean = torch.full((3, 32, 32), 0.5)

        def predict(self, batch):
            blue = 1 - batch.images[:, 2]
            return Outputs((32, 32), AnomalyMap((Level(blue),)), ImageScore(blue.amax((1, 2))))

    assert passed(ZeroShot) >= {"refit_forgets", "planted_blob_scores_above_normal"}


def test_a_failure_tells_the_numbers_and_the_parameters():
    class Loud(CountsThePlace):
        check_parameters = {"gain": 2.0}  # noqa: RUF012

    (outcome,) = [
        testing._outcome(Loud, "model loud", name, check)
        for name, check in checks(Loud).items()
        if name == "order_invariance"
    ]
    assert outcome.failed
    assert re.fullmatch(
        r"FAILED: AssertionError: another order: [\d.]+ became [\d.]+, a difference of [\d.e-]+ "
        r"of the largest value [\d.]+; 1e-05 is allowed \(checked with gain=2.0\)",
        outcome.text,
    )


def test_a_component_says_how_it_is_quick_to_check():
    class Quick(Mean):
        check_parameters = {"gain": 3.0}  # noqa: RUF012

    assert testing.make(Quick).gain == 3


def test_outcomes_by_name():
    both = testing.check("toy-raises", CATALOGUE)
    assert {outcome.component for outcome in both} == {"model toy-raises", "scorer toy-raises"}
    (failed, *_) = [outcome for outcome in both if outcome.failed]
    assert failed.text == "FAILED: RuntimeError: the toy broke (checked with its defaults)"
    one = testing.check("model:toy-mean", CATALOGUE)
    assert {outcome.text for outcome in one} == {
        "ok",
        "skipped: it has no parameter 'resize' or 'size' for the size of its input",
    }
    whole = testing.check("toys", CATALOGUE)
    assert {o.component for o in whole} >= {"model toy-mean", "scorer toy-map", "dataset toy-data"}
    with pytest.raises(UserError, match=r"did you mean 'toy-mean'"):
        testing.check("toy-maen", CATALOGUE)


def test_a_scorer_that_no_axis_would_have_judges_no_model():
    """The scorer toy-raises accepts what toy-mean emits, and would fail it."""
    (planted,) = [
        outcome
        for outcome in testing.check("model:toy-mean", CATALOGUE)
        if outcome.check == "planted_blob_scores_above_normal"
    ]
    assert planted.text == "ok"


def test_parametrize_marks_declared_failures(pytester):
    pytester.makepyfile(
        """
        from adbench_harness.testing import parametrize_with_checks

        class Half:
            name, summary, paper, version = "half", "Half the rows.", None, 1
            xfail = {"keeps_geometry": "it is what it does", "same_result_twice": "not so"}
            def __call__(self, image):
                return image[::2]

        class Scorer:
            name, summary, paper, version = "classes", "Classes.", None, 1
            from adbench_harness.types import DefectLogits, Scores
            accepts = frozenset({DefectLogits})
            def score(self, outputs):
                logits = outputs[self.DefectLogits]
                return self.Scores(classes=logits.values.softmax(1), class_names=logits.classes)

        @parametrize_with_checks([Half, Scorer])
        def test_conformance(component, check):
            check(component)
        """
    )
    result = pytester.runpytest_inprocess("-q", "-rA", "-p", "no:cacheprovider")
    # Of Half: five pass, one fails as declared, one passes though declared. Of Scorer: two skip.
    result.assert_outcomes(passed=5 + 7, xfailed=1, failed=1, skipped=2)
    result.stdout.fnmatch_lines(["*half-same_result_twice*", "*XPASS(strict)*not so*"])
