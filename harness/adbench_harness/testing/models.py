"""Models predict what they declare, and only from what they were fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from adbench_harness.planning import parameters
from adbench_harness.running import contract
from adbench_harness.testing.common import (
    Skipped,
    blob_is_hot,
    close,
    excuse,
    identical,
    make,
    per_image,
)
from adbench_harness.testing.fitting import Blobs, Walked, batch, textures, tools, train
from adbench_harness.testing.reloading import reloaded
from adbench_harness.types import Batch, DefectLogits, Outputs, overrides

_RECTANGLE = (64, 96)
_SIZES = ("resize", "size")
"""Names of the parameter that sets the size of a model's input."""


def _fitted(component: Any, seed: int = 0) -> Any:
    return _fit(make(component), seed)


def _fit(model: Any, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    images = _normal(model, 8, seed)
    classes = not _is_of(model, "unsupervised") and _is_of(model, "classification")
    if classes:
        images = torch.cat([images[:4], _defective(model, 4, seed)])
    if _needs_no_image(model):
        images = images[:0]
    augmenter = Blobs() if model.augmentation != "none" else None
    model.fit(train(images, classes, model), tools(augmenter, model.input.size, seed))
    return model


def _is_of(model: Any, protocol: str) -> bool:
    return protocol in model.protocols


def _needs_no_image(model: Any) -> bool:
    return set(model.protocols) == {"zero-shot"}


def _normal(model: Any, count: int, seed: int = 1) -> Tensor:
    return textures(count, model.input.size, seed)


def _defective(model: Any, count: int, seed: int = 2) -> Tensor:
    return textures(count, model.input.size, seed, blob=True)


def _predict(model: Any, images: Tensor, indices: Sequence[int] | None = None) -> Outputs:
    """The outputs for the images, or for a batch of those at ``indices``."""
    whole = batch(images, model)
    asked = whole if indices is None else _part(whole, indices)
    with torch.no_grad():
        outputs = model.predict(asked)
    contract.check_outputs(outputs, model.emits, len(asked))
    return outputs  # type: ignore[no-any-return]  # checked


def _part(whole: Batch, indices: Sequence[int]) -> Batch:
    chosen = list(indices)
    return replace(
        whole,
        images=whole.images[chosen],
        seeds=whole.seeds[chosen],
        categories=tuple(whole.categories[i] for i in chosen) if whole.categories else (),
        extras={name: extra[chosen] for name, extra in whole.extras.items()},
    )


def _predicts_what_it_declares(component: Any) -> None:
    model = _fitted(component)
    _says_its_size(model, _predict(model, _normal(model, 3)))


def _says_its_size(model: Any, outputs: Outputs) -> None:
    given = outputs.input_size
    assert tuple(given) == model.input.size, (
        f"predict returned an input_size of {given} px (height, width), not {model.input.size}"
    )


def _predicts_maps_of_a_rectangle(component: Any) -> None:
    known = parameters.parameters(component)
    name = next((name for name in _SIZES if name in known), None)
    if name is None:
        raise Skipped("it has no parameter 'resize' or 'size' for the size of its input")
    try:
        size = known[name].adapter.validate_python(_RECTANGLE)
    except ValidationError:
        raise Skipped(f"its parameter '{name}' does not accept (height, width)") from None
    whole = {"crop": None} if "crop" in known else {}
    try:
        model = component(**{**component.check_parameters, name: size, **whole})
    except ValueError as error:
        raise Skipped(f"it refuses an input that is not square: {error}") from None
    assert model.input.size == _RECTANGLE, (
        f"{name}={_RECTANGLE} gives an input of {model.input.size} px"
    )
    _fit(model)
    _says_its_size(model, _predict(model, _normal(model, 3)))


def _predicts_the_same_from_the_same_seed(component: Any) -> None:
    first, again = _fitted(component), _fitted(component)
    images = _normal(first, 3)
    close(per_image(_predict(first, images)), per_image(_predict(again, images)), "same seed")


def _predicts_the_same_twice(component: Any) -> None:
    excuse(component, "updates_in_predict")
    model = _fitted(component)
    images = _normal(model, 3)
    first = per_image(_predict(model, images))
    close(first, per_image(_predict(model, images)), "the same batch again")


def _predicts_alone_as_in_a_batch(component: Any) -> None:
    excuse(component, "transductive", "updates_in_predict")
    model = _fitted(component)
    images = _normal(model, 3)
    together = per_image(_predict(model, images))
    # Two images: a division by the batch's maximum would not change the highest one.
    for i in (0, 1):
        alone = per_image(_predict(model, images, [i]))
        close([t[i : i + 1] for t in together], alone, "one image alone")


def _predicts_in_any_order(component: Any) -> None:
    excuse(component, "transductive", "updates_in_predict")
    model = _fitted(component)
    images = _normal(model, 3)
    forward = [t[[2, 0, 1]] for t in per_image(_predict(model, images))]
    close(forward, per_image(_predict(model, images, [2, 0, 1])), "another order")


def _leaves_test_images_alone(component: Any) -> None:
    model = _fitted(component)
    images = _normal(model, 3)
    before = images.clone()
    _predict(model, images)
    identical([before], [images], "predict wrote into the images that it was given")


_REFITTED = (
    "fitted again (make or reset the weights in fit, and the modules that a stored model needs in "
    "rebuild)"
)


def _model_refit_forgets(component: Any) -> None:
    model, fresh = _fit(_fitted(component, 5), 0), _fitted(component, 0)
    images = _normal(model, 3)
    close(per_image(_predict(fresh, images)), per_image(_predict(model, images)), _REFITTED)


def _reload_predicts_the_same(component: Any) -> None:
    model = _fitted(component)
    again = reloaded(component, model, tools(None, model.input.size))
    images = _normal(model, 3)
    before, after = (_all_tensors(_predict(m, images)) for m in (model, again))
    identical(before, after, "stored and loaded again")


def _all_tensors(outputs: Outputs) -> list[Tensor]:
    shared = (contract.shared_tensors(port) for port in outputs.ports.values())
    return [*per_image(outputs), *(tensor for tensors in shared for tensor in tensors)]


def _planted_blob_scores_above_normal(component: Any, scorers: Sequence[Any]) -> None:
    model = _fitted(component)
    fitting = [s for s in map(make, scorers) if s.accepts <= model.emits]
    if _needs_no_image(model):
        fitting = [scorer for scorer in fitting if not overrides(scorer, "fit")]
    if not fitting or DefectLogits in model.emits:
        raise Skipped("no available scorer accepts the ports that it emits")
    for scorer in fitting:
        if overrides(scorer, "fit"):
            trained = Walked([_predict(model, _normal(model, 8, 0))])
            scorer.fit(trained, torch.Generator().manual_seed(0))
        if scorer.transductive:
            scorer.adapt(
                [_predict(model, _normal(model, 3)), _predict(model, _defective(model, 3))]
            )
        normal = scorer.score(_predict(model, _normal(model, 3)))
        planted = scorer.score(_predict(model, _defective(model, 3)))
        if normal.image is not None:
            lowest, highest = float(planted.image.min()), float(normal.image.max())
            assert lowest > highest, (
                f"{scorer.name}: an image with a planted defect scores {lowest:.6g}, a normal one "
                f"{highest:.6g}"
            )
        if planted.map is not None:
            blob_is_hot(planted.map, scorer.name)


CHECKS: dict[str, Any] = {
    "shapes_and_types": _predicts_what_it_declares,
    "rectangular_input": _predicts_maps_of_a_rectangle,
    "same_seed_same_result": _predicts_the_same_from_the_same_seed,
    "same_result_twice": _predicts_the_same_twice,
    "subset_invariance": _predicts_alone_as_in_a_batch,
    "order_invariance": _predicts_in_any_order,
    "leaves_its_input_alone": _leaves_test_images_alone,
    "refit_forgets": _model_refit_forgets,
    "reload_predicts_the_same": _reload_predicts_the_same,
    "planted_blob_scores_above_normal": _planted_blob_scores_above_normal,
}
