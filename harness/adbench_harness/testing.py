"""Conformance: what every component promises, as small named checks that anyone can run.

In a plugin's tests::

    from adbench_harness.testing import parametrize_with_checks

    @parametrize_with_checks([MyModel, MyScorer])
    def test_conformance(component, check):
        check(component)

A class attribute ``xfail = {"check": "reason"}`` declares a check that the component cannot meet,
``check_parameters = {"preset": "smoke"}`` the parameters that make it quick to check.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adbench_harness import backbones, contract, data, parameters
from adbench_harness.basic.backbones import BACKBONES, Embedded
from adbench_harness.basic.scorers import MapScorer, OwnScorer, SoftmaxScorer
from adbench_harness.checkpoint import FileCheckpoint
from adbench_harness.errors import UserError, nearest
from adbench_harness.metrics.evaluation import Evaluation
from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.plugins import Catalogue
from adbench_harness.trial import Weights
from adbench_harness.types import (
    AnomalyMap,
    Augmented,
    Batch,
    DefectLogits,
    FeatureRequest,
    Features,
    ImageBank,
    ImageEmbeddings,
    ImageScore,
    Level,
    Metric,
    Outputs,
    PatchBank,
    PatchEmbeddings,
    PatchGaussian,
    Reconstruction,
    Sample,
    Scores,
    Tools,
)

Check = Callable[[Any], None]
TOLERANCE = 1e-5
ResNet18 = next(backbone for backbone in BACKBONES if backbone.name == "resnet18")
_BASIC_SCORERS = (MapScorer, OwnScorer, SoftmaxScorer)


class Skipped(Exception):  # noqa: N818  # an outcome, not an error
    """The check needs something that is not here."""


@dataclass(frozen=True)
class Outcome:
    """How one check of one component ended; ``text`` says it in words."""

    component: str
    check: str
    text: str
    failed: bool = False


def checks(component: Any, scorers: Sequence[Any] = ()) -> Iterator[tuple[str, Check]]:
    """The named checks of a component's kind; ``scorers`` may judge a model's planted defects."""
    kind = kind_of(component)
    yield "says_what_it_is", _says_what_it_is
    if kind not in ("metric", "recipe"):
        yield "constructs_without_arguments", _constructs_without_arguments
    for name, check in _CHECKS[kind].items():
        if kind == "model" and name == "planted_blob_scores_above_normal":
            yield name, partial(check, scorers=[*scorers, *_BASIC_SCORERS])
        else:
            yield name, check


def parametrize_with_checks(components: Iterable[Any]) -> Any:
    """A ``pytest.mark.parametrize`` over (component, check); declared failures are xfails."""
    import pytest

    components = list(components)
    scorers = _judges(components)
    cases = []
    for component in components:
        reasons = getattr(component, "xfail", {})
        for name, check in checks(component, scorers):
            declared = name in reasons
            marks = [pytest.mark.xfail(reason=reasons[name], strict=True)] if declared else ()
            cases.append(
                pytest.param(
                    component, _skipping(check), id=f"{component.name}-{name}", marks=marks
                )
            )
    return pytest.mark.parametrize(("component", "check"), cases)


def _judges(components: Iterable[Any]) -> list[Any]:
    """The scorers among ``components`` that an axis would have."""
    return [c for c in components if hasattr(c, "accepts") and getattr(c, "default", True)]


def _skipping(check: Check) -> Check:
    def run(component: Any) -> None:
        import pytest

        try:
            check(component)
        except Skipped as reason:
            pytest.skip(str(reason))

    return run


def check(name: str, catalogue: Catalogue) -> list[Outcome]:
    """Run the checks of a component ``[kind:]name``, or of all that a plugin brings."""
    offers = [o for by_name in catalogue.offers.values() for o in by_name.values()]
    kind, _, short = name.rpartition(":")
    chosen = [o for o in offers if o.plugin == name or (o.name == short and kind in ("", o.kind))]
    if not chosen:
        known = [*catalogue.plugins, *(o.name for o in offers)]
        raise UserError(
            f"no plugin or component '{name}'{nearest(name, known)}; 'adbench list --components' "
            "shows them"
        )
    scorers = _judges(offer.component for offer in offers)
    return [
        _outcome(offer.component, f"{offer.kind} {offer.name}", check_name, function)
        for offer in chosen
        if offer.kind != "recipe"
        for check_name, function in checks(offer.component, scorers)
    ]


def _outcome(component: Any, label: str, name: str, function: Check) -> Outcome:
    reason = getattr(component, "xfail", {}).get(name)
    try:
        function(component)
    except Skipped as skipped:
        return Outcome(label, name, f"skipped: {skipped}")
    except Exception as error:
        if reason:
            return Outcome(label, name, f"fails as declared: {reason}")
        message = str(error).strip().splitlines()
        text = f"FAILED: {type(error).__name__}: {message[0] if message else ''}"
        return Outcome(label, name, text, failed=True)
    if reason:
        return Outcome(label, name, "FAILED: passes, but is declared to fail", failed=True)
    return Outcome(label, name, "ok")


def kind_of(component: Any) -> str:
    """The kind of a component class or value, by what it has."""
    if isinstance(component, Metric):
        return "metric"
    marks = {
        "dataset": "samples",
        "augmenter": "augment",
        "model": "predict",
        "scorer": "score",
        "backbone": "network",
        "preprocessor": "__call__",
    }
    for kind, method in marks.items():
        if inspect.isfunction(getattr(component, method, None)):
            return kind
    raise TypeError(f"{component!r} is no component: it has none of {', '.join(marks.values())}")


def make(component: Any) -> Any:
    """An instance with the parameters that it wants to be checked with."""
    return component(**getattr(component, "check_parameters", {}))


# ---------------------------------------------------------------- every component


def _says_what_it_is(component: Any) -> None:
    assert isinstance(component.name, str)
    assert component.name
    assert isinstance(component.summary, str)
    assert component.summary
    assert isinstance(component.version, int)
    if not isinstance(component, Metric):
        assert component.paper is None or isinstance(component.paper, str)


def _constructs_without_arguments(component: Any) -> None:
    parameters.parameters(component)
    component()


# ---------------------------------------------------------------- data sets


def _samples(component: Any) -> list[Sample]:
    dataset = make(component)
    try:
        root = data.locate(dataset, None, {})
    except UserError as error:
        raise Skipped(str(error)) from None
    return [s for category in dataset.categories(root) for s in dataset.samples(root, category, 0)]


def _lists_samples(component: Any) -> None:
    samples = _samples(component)
    assert {sample.part for sample in samples} >= {"train", "test"}
    assert len({sample.image for sample in samples}) == len(samples), "an image is listed twice"
    for sample in samples:
        assert sample.image.is_file(), f"{sample.image} is no file"
        assert all(mask.is_file() for mask in sample.masks)
        assert sample.label in (0, 1, None)
        assert sample.label == 1 or not sample.masks, f"{sample.image}: masks, but not anomalous"


def _lists_the_same_twice(component: Any) -> None:
    assert _samples(component) == _samples(component)


# ---------------------------------------------------------------- preprocessors


def _photographs() -> list[data.Image]:
    """Images of odd sizes, light, dark and mixed."""
    draw = np.random.default_rng(0)
    images = [draw.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((64, 64), (37, 91))]
    return [*images, np.full((48, 48, 3), 200, np.uint8), np.zeros((33, 40, 3), np.uint8)]


def _fitted_preprocessor(component: Any, images: Sequence[data.Image]) -> Any:
    step = make(component)
    if hasattr(step, "fit"):
        step.fit(iter(images))
    return step


def _keeps_geometry(component: Any) -> None:
    step = _fitted_preprocessor(component, _photographs())
    for image in _photographs():
        data.checked(step, image)


def _preprocesses_the_same_twice(component: Any) -> None:
    step = _fitted_preprocessor(component, _photographs())
    again = _fitted_preprocessor(component, _photographs())
    for image in _photographs():
        first = step(image)
        assert np.array_equal(first, step(image))
        assert np.array_equal(first, again(image))


def _leaves_the_image_alone(component: Any) -> None:
    step = _fitted_preprocessor(component, _photographs())
    for image in _photographs():
        before = image.copy()
        step(image)
        assert np.array_equal(image, before), "the preprocessor wrote into the image it was given"


def _preprocessor_refit_forgets(component: Any) -> None:
    step = _fitted_preprocessor(component, _photographs()[:2])
    if not hasattr(step, "fit"):
        return
    step.fit(iter(_photographs()[2:]))
    fresh = _fitted_preprocessor(component, _photographs()[2:])
    for image in _photographs():
        assert np.array_equal(step(image), fresh(image)), "the second fit remembers the first"


# ---------------------------------------------------------------- augmenters


def _augment(component: Any, images: Tensor, seed: int = 0) -> Augmented:
    augmenter = make(component)
    if hasattr(augmenter, "fit"):
        augmenter.fit(_train(images), _tools(None, images.shape[-1]))
    batch = Batch(images=images, seeds=torch.arange(len(images)), handles=tuple(range(len(images))))
    result = augmenter.augment(batch, torch.Generator().manual_seed(seed))
    assert isinstance(result, Augmented), f"augment returned {type(result).__name__}"
    return result


def _augments_within_its_mask(component: Any) -> None:
    images = _textures(8, 64)
    result = _augment(component, images.clone())
    outside = ~result.masks[:, None].expand_as(images)
    assert torch.equal(result.images[outside], images[outside]), "changed pixels outside the mask"


def _augments_in_shape(component: Any) -> None:
    images = _textures(8, 64)
    result = _augment(component, images.clone())
    assert result.images.shape == images.shape
    assert result.images.dtype == torch.float32
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    assert result.masks.shape == (8, 64, 64)
    assert result.masks.dtype == torch.bool
    assert result.kind.shape == (8,)
    assert result.kind.max() <= len(component.kinds)
    assert not result.masks[result.kind == 0].any(), "an image left clean has a mask"
    assert result.masks.any(), "nothing was augmented"


def _augments_the_same_twice(component: Any) -> None:
    images = _textures(8, 64)
    first, again = _augment(component, images.clone()), _augment(component, images.clone())
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.masks, again.masks)
    assert not torch.equal(first.images, _augment(component, images.clone(), 1).images)


def _leaves_the_batch_alone(component: Any) -> None:
    images = _textures(8, 64)
    before = images.clone()
    _augment(component, images)
    assert torch.equal(images, before), "the augmenter wrote into the images it was given"


# ---------------------------------------------------------------- models


def _textures(count: int, side: int, seed: int = 0, blob: bool = False) -> Tensor:
    """Striped, slightly noisy normal images [count, 3, side, side]; ``blob`` plants a defect."""
    draw = torch.Generator().manual_seed(seed)
    place = torch.arange(side)
    stripes = 0.5 + 0.2 * torch.sin(place / 3.0)[:, None] * torch.cos(place / 5.0)[None, :]
    noise = 0.02 * torch.randn(count, 3, side, side, generator=draw)
    images = (stripes + noise).clamp(0, 1)
    if blob:
        start, end = side * 2 // 5, side * 3 // 5
        images[:, :, start:end, start:end] = torch.tensor([0.95, 0.1, 0.1])[:, None, None]
    return images


def _train(images: Tensor, classes: bool = False) -> data.TrainImages:
    """The images as a training set, half of them of each of two classes where a split has any."""
    inputs = data.Inputs(
        samples=(),
        pixels=(images * 255).round().to(torch.uint8),
        sizes=((images.shape[2], images.shape[3]),) * len(images),
        seconds=np.zeros(len(images)),
    )
    seeds = np.arange(len(images), dtype=np.int64)
    device = torch.device("cpu")
    half = len(images) // 2
    return data.TrainImages(
        inputs,
        range(len(images)),
        seeds,
        device,
        {place: int(place >= half) for place in range(len(images))} if classes else None,
        validation=data.Images(inputs, (), seeds, device),
        classes=("good", "blob") if classes else (),
    )


def _tools(augmenter: Any, side: int, seed: int = 0) -> Tools:
    return Tools(
        device=torch.device("cpu"),
        generator=torch.Generator().manual_seed(seed),
        augmenter=augmenter,
        features=_features,
        trainable=_trainable,
        auxiliary=lambda _: _train(_textures(4, side, seed=9)),
        progress=lambda *_: None,
        log=lambda *_: None,
        checkpoint=FileCheckpoint(None),
    )


def _features(request: FeatureRequest) -> Features:
    """The embedded backbone's layers in the place of any network that has the same layer names."""
    if not set(request.layers) <= set(Embedded.layers):
        raise Skipped(f"the embedded backbone has no layers {', '.join(request.layers)}")
    weights = Weights(Embedded.name, Embedded.version)
    store = backbones.FeatureStore(Embedded(), weights, torch.device("cpu"))
    return store.serve(FeatureRequest(Embedded.name, request.layers))


def _trainable(request: FeatureRequest) -> torch.nn.Module:
    """A small untrained ResNet in the place of any network that has the same layer names."""
    if not set(request.layers) <= set(ResNet18.layers):
        raise Skipped(f"a ResNet has no layers {', '.join(request.layers)}")
    return ResNet18().network(request.layers).eval()


def _fitted(component: Any, seed: int = 0) -> Any:
    return _fit(make(component), seed)


def _fit(model: Any, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    side = model.input.side
    classes = "unsupervised" not in model.protocols
    images = _textures(8, side, seed)
    if classes:
        images = torch.cat([images[:4], _textures(4, side, seed, blob=True)])
    augmenter = _Blobs() if model.augmentation != "none" else None
    model.fit(_train(images, classes), _tools(augmenter, side, seed))
    return model


class _Blobs:
    """An augmenter for checks: a bright square in every second image."""

    name, summary, paper, version, kinds = "blobs", "squares", None, 1, ("square",)

    def augment(self, batch: Batch, generator: torch.Generator) -> Augmented:
        images = batch.images.clone()
        masks = torch.zeros(len(batch), *images.shape[2:], dtype=torch.bool)
        size = images.shape[-1] // 4
        for i in range(0, len(batch), 2):
            top, left = torch.randint(0, images.shape[-1] - size, (2,), generator=generator)
            masks[i, top : top + size, left : left + size] = True
        images.masked_fill_(masks[:, None], 0.9)
        return Augmented(images, masks, masks.any((1, 2)).long())


def _batch(images: Tensor) -> Batch:
    return Batch(images=images, seeds=torch.arange(len(images)))


def _predict(model: Any, images: Tensor, order: Sequence[int] | None = None) -> Outputs:
    batch = _batch(images)
    if order is not None:
        batch = Batch(images=images[list(order)], seeds=batch.seeds[list(order)])
    with torch.no_grad():
        outputs = model.predict(batch)
    contract.check_outputs(outputs, model.emits, len(batch))
    return outputs  # type: ignore[no-any-return]  # checked


def _per_image(outputs: Outputs) -> list[Tensor]:
    """The tensors with an entry an image."""
    shared = (PatchBank, ImageBank, PatchGaussian)
    return [
        tensor
        for kind, port in outputs.ports.items()
        if kind not in shared
        for tensor in contract.tensors(port)
    ]


def _close(first: Sequence[Tensor], second: Sequence[Tensor], what: str) -> None:
    for a, b in zip(first, second, strict=True):
        scale = max(float(a.abs().max()), 1e-12)
        worst = float((a - b).abs().max()) / scale
        assert worst <= TOLERANCE, f"{what}: relative difference {worst:.1e}"


def _predicts_what_it_declares(component: Any) -> None:
    model = _fitted(component)
    outputs = _predict(model, _textures(3, model.input.side, 1))
    assert outputs.input_size == (model.input.side, model.input.side)


def _predicts_the_same_from_the_same_seed(component: Any) -> None:
    first, again = _fitted(component), _fitted(component)
    images = _textures(3, first.input.side, 1)
    _close(_per_image(_predict(first, images)), _per_image(_predict(again, images)), "same seed")


def _predicts_alone_as_in_a_batch(component: Any) -> None:
    model = _fitted(component)
    images = _textures(3, model.input.side, 1)
    together = _per_image(_predict(model, images))
    for i in (0, 1):  # alone, a batch's highest would be right even if divided by it; two cannot
        alone = _per_image(_predict(model, images, [i]))
        _close([t[i : i + 1] for t in together], alone, "one image alone")


def _predicts_in_any_order(component: Any) -> None:
    model = _fitted(component)
    images = _textures(3, model.input.side, 1)
    forward = [t[[2, 0, 1]] for t in _per_image(_predict(model, images))]
    _close(forward, _per_image(_predict(model, images, [2, 0, 1])), "another order")


def _leaves_test_images_alone(component: Any) -> None:
    model = _fitted(component)
    images = _textures(3, model.input.side, 1)
    before = images.clone()
    _predict(model, images)
    assert torch.equal(images, before), "predict wrote into the images it was given"


def _model_refit_forgets(component: Any) -> None:
    model, fresh = _fit(_fitted(component, 5), 0), _fitted(component, 0)
    images = _textures(3, model.input.side, 1)
    _close(_per_image(_predict(model, images)), _per_image(_predict(fresh, images)), "refit")


def _planted_blob_scores_above_normal(component: Any, scorers: Sequence[Any]) -> None:
    model = _fitted(component)
    fitting = [s for s in map(make, scorers) if s.accepts <= model.emits]
    if not fitting or DefectLogits in model.emits:
        raise Skipped("no scorer of images at hand accepts what it emits")
    side = model.input.side
    for scorer in fitting:
        if hasattr(scorer, "fit"):
            scorer.fit(iter([_predict(model, _textures(8, side))]))
        normal = scorer.score(_predict(model, _textures(3, side, 1)))
        planted = scorer.score(_predict(model, _textures(3, side, 2, blob=True)))
        if normal.image is not None:
            assert planted.image.min() > normal.image.max(), f"{scorer.name}: image scores"
        if planted.map is not None:
            _blob_is_hot(planted.map, scorer.name)


def _blob_is_hot(maps: Tensor, name: str) -> None:
    side = maps.shape[-1]
    blob = maps[:, side * 9 // 20 : side * 11 // 20, side * 9 // 20 : side * 11 // 20]
    corner = maps[:, : side // 5, : side // 5]
    assert blob.mean() > corner.mean(), f"{name}: the map is not hot where the defect is"


# ---------------------------------------------------------------- scorers

_GRID, _DEPTH, _SIDE = 6, 8, 48


def _outputs(component: Any, count: int = 4, planted: int | None = None) -> Outputs:
    """Outputs with every port that the scorer accepts; image ``planted`` holds a defect."""
    draw = torch.Generator().manual_seed(0)

    def grid(*shape: int) -> Tensor:
        return 0.1 * torch.randn(*shape, generator=draw)

    hot = torch.zeros(count, _GRID, _GRID)
    if planted is not None:
        hot[planted, 2:4, 2:4] = 5.0
    images = grid(count, 3, _SIDE, _SIDE)
    defect = torch.nn.functional.interpolate(hot[:, None], _SIDE)
    score = hot.amax((1, 2))
    gaussian = (torch.zeros(_DEPTH), 100 * torch.eye(_DEPTH))
    ports: dict[type, Callable[[], Any]] = {
        PatchEmbeddings: lambda: PatchEmbeddings(
            (Level(grid(count, _GRID, _GRID, _DEPTH) + hot[..., None]),)
        ),
        PatchBank: lambda: PatchBank((Neighbours(grid(50, _DEPTH)),)),
        PatchGaussian: lambda: PatchGaussian((gaussian,)),
        ImageEmbeddings: lambda: ImageEmbeddings(grid(count, _DEPTH) + score[:, None]),
        ImageBank: lambda: ImageBank(Neighbours(grid(20, _DEPTH))),
        Reconstruction: lambda: Reconstruction(images + defect, (images,)),
        AnomalyMap: lambda: AnomalyMap((Level(grid(count, _GRID, _GRID).abs() + hot),)),
        ImageScore: lambda: ImageScore(grid(count) + score),
        DefectLogits: lambda: DefectLogits(grid(count, 3), ("good", "a", "b")),
    }
    made = [ports[port]() for port in sorted(make(component).accepts, key=lambda p: p.__name__)]
    return Outputs((_SIDE, _SIDE), *made)


def _part(outputs: Outputs, places: Sequence[int]) -> Outputs:
    """The outputs of some of the images."""

    def cut(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value[list(places)]
        if isinstance(value, Level):
            return Level(value.values[list(places)], value.box, value.valid)
        return tuple(map(cut, value)) if isinstance(value, tuple) else value

    ports = []
    for kind, port in outputs.ports.items():
        if kind in (PatchBank, ImageBank, PatchGaussian):
            ports.append(port)
        elif kind is DefectLogits:
            ports.append(DefectLogits(cut(outputs[DefectLogits].values), port.classes))  # type: ignore[union-attr]
        else:
            ports.append(kind(*(cut(getattr(port, name)) for name in vars(port))))
    return Outputs(outputs.input_size, *ports)


def _scored(component: Any, outputs: Outputs, count: int) -> list[Tensor]:
    scorer = make(component)
    if hasattr(scorer, "fit"):
        scorer.fit(iter([_outputs(component, 8)]))
    with torch.no_grad():
        scores: Scores = scorer.score(outputs)
    contract.check_scores(scores, count)
    return [v for v in (scores.image, scores.map, scores.classes) if v is not None]


def _scores_in_shape(component: Any) -> None:
    for values in _scored(component, _outputs(component), 4):
        assert values.dtype == torch.float32


def _scores_the_same_twice(component: Any) -> None:
    outputs = _outputs(component)
    _close(_scored(component, outputs, 4), _scored(component, outputs, 4), "the same outputs")


def _scores_alone_as_in_a_batch(component: Any) -> None:
    outputs = _outputs(component)
    together = _scored(component, outputs, 4)
    for places in ([3, 1], [0], [2]):
        part = _scored(component, _part(outputs, places), len(places))
        _close([v[places] for v in together], part, f"{len(places)} of four images")


def _leaves_outputs_alone(component: Any) -> None:
    outputs = _outputs(component)
    before = [t.clone() for t in _per_image(outputs)]
    _scored(component, outputs, 4)
    for now, then in zip(_per_image(outputs), before, strict=True):
        assert torch.equal(now, then), "the scorer wrote into the outputs it was given"


def _scores_a_planted_defect_higher(component: Any) -> None:
    if DefectLogits in make(component).accepts:
        raise Skipped("classes have no order")
    scorer = make(component)
    if hasattr(scorer, "fit"):
        scorer.fit(iter([_outputs(component, 8)]))
    scores = scorer.score(_outputs(component, planted=2))
    if scores.image is not None:
        assert int(scores.image.argmax()) == 2, "another image scores higher than the planted one"
    if scores.map is not None:
        _blob_is_hot(scores.map[2:3], component.name)


# ---------------------------------------------------------------- metrics


def _evaluation(metric: Metric, values: np.ndarray, truth: np.ndarray) -> Evaluation:
    labels = truth.astype(np.int8)
    if metric.needs == "image":
        return Evaluation(labels, scores=values.astype(np.float32))
    if metric.needs == "map":
        masks = truth.astype(bool).reshape(4, -1, 10)
        maps = values.astype(np.float32).reshape(4, -1, 10)
        return Evaluation(np.ones(4, np.int8), maps=list(maps), masks=list(masks))
    return Evaluation(labels, predicted=values.astype(np.int64), true=truth.astype(np.int64))


def _truth() -> np.ndarray:
    return (np.random.default_rng(0).random(400) < 0.2).astype(int)


def _is_one_on_a_perfect_ranking(metric: Metric) -> None:
    if metric.chance is None and metric.needs != "classes":
        raise Skipped("not a ranking metric")
    truth = _truth()
    assert abs(metric.compute(_evaluation(metric, truth, truth)) - 1) < 1e-9


def _is_at_chance_on_constant_scores(metric: Metric) -> None:
    if metric.chance is None:
        raise Skipped("declares no chance level")
    truth = _truth()
    value = metric.compute(_evaluation(metric, np.ones(400), truth))
    assert abs(value - metric.chance(float(truth.mean()))) < 1e-9


def _ignores_monotone_maps(metric: Metric) -> None:
    if metric.chance is None:
        raise Skipped("not a ranking metric")
    scores, truth = np.random.default_rng(1).integers(0, 50, 400), _truth()
    value = metric.compute(_evaluation(metric, scores, truth))
    for monotone in (scores * 3.0 - 7, scores.astype(float) ** 3, np.log1p(scores)):
        assert abs(metric.compute(_evaluation(metric, monotone, truth)) - value) < 1e-9


def _is_a_number(metric: Metric) -> None:
    values, truth = np.random.default_rng(2).integers(0, 2, 400), _truth()
    assert np.isfinite(metric.compute(_evaluation(metric, values, truth)))


# ---------------------------------------------------------------- backbones


def _runs_every_layer(component: Any) -> None:
    network = make(component).network(component.layers).eval()
    with torch.no_grad():
        grids = network(torch.rand(2, 3, 64, 64))
    assert set(grids) == set(component.layers)
    for name, grid in grids.items():
        assert grid.dim() in (2, 4), f"{name}: neither a grid nor a vector"
        assert len(grid) == 2
        assert torch.isfinite(grid).all(), f"{name}: not finite"


def _runs_alone_as_in_a_batch(component: Any) -> None:
    layers = component.layers[:2]
    network = make(component).network(layers).eval()
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together, alone = network(images), network(images[1:2])
    _close([together[n][1:2] for n in layers], [alone[n] for n in layers], "one image alone")


_CHECKS: dict[str, dict[str, Any]] = {
    "dataset": {
        "lists_samples": _lists_samples,
        "lists_the_same_twice": _lists_the_same_twice,
    },
    "preprocessor": {
        "keeps_geometry": _keeps_geometry,
        "same_result_twice": _preprocesses_the_same_twice,
        "leaves_its_input_alone": _leaves_the_image_alone,
        "refit_forgets": _preprocessor_refit_forgets,
    },
    "augmenter": {
        "changes_nothing_outside_its_mask": _augments_within_its_mask,
        "shapes_and_types": _augments_in_shape,
        "same_seed_same_result": _augments_the_same_twice,
        "leaves_its_input_alone": _leaves_the_batch_alone,
    },
    "model": {
        "shapes_and_types": _predicts_what_it_declares,
        "same_seed_same_result": _predicts_the_same_from_the_same_seed,
        "subset_invariance": _predicts_alone_as_in_a_batch,
        "order_invariance": _predicts_in_any_order,
        "leaves_its_input_alone": _leaves_test_images_alone,
        "refit_forgets": _model_refit_forgets,
        "planted_blob_scores_above_normal": _planted_blob_scores_above_normal,
    },
    "scorer": {
        "shapes_and_types": _scores_in_shape,
        "same_result_twice": _scores_the_same_twice,
        "subset_and_order_invariance": _scores_alone_as_in_a_batch,
        "leaves_its_input_alone": _leaves_outputs_alone,
        "planted_defect_scores_higher": _scores_a_planted_defect_higher,
    },
    "metric": {
        "is_a_number": _is_a_number,
        "perfect_ranking_is_one": _is_one_on_a_perfect_ranking,
        "constant_scores_are_chance": _is_at_chance_on_constant_scores,
        "monotone_maps_change_nothing": _ignores_monotone_maps,
    },
    "backbone": {
        "runs_every_layer": _runs_every_layer,
        "subset_invariance": _runs_alone_as_in_a_batch,
    },
}
