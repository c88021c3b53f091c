"""Models predict what they declare, from what they were fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from adbench_harness.running import contract
from adbench_harness.testing.common import (
    Skipped,
    blob_is_hot,
    close,
    make,
    per_image,
)
from adbench_harness.testing.fitting import Blobs, Walked, textures, tools, train
from adbench_harness.types import (
    Batch,
    DefectLogits,
    Outputs,
)


def _fitted(component: Any, seed: int = 0) -> Any:
    return _fit(make(component), seed)


def _fit(model: Any, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    side = model.input.size[0]
    classes = "unsupervised" not in model.protocols
    images = textures(8, side, seed)
    if classes:
        images = torch.cat([images[:4], textures(4, side, seed, blob=True)])
    augmenter = Blobs() if model.augmentation != "none" else None
    model.fit(train(images, classes), tools(augmenter, side, seed))
    return model


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


def _predicts_what_it_declares(component: Any) -> None:
    model = _fitted(component)
    outputs = _predict(model, textures(3, model.input.size[0], 1))
    assert outputs.input_size == model.input.size


def _predicts_the_same_from_the_same_seed(component: Any) -> None:
    first, again = _fitted(component), _fitted(component)
    images = textures(3, first.input.size[0], 1)
    close(per_image(_predict(first, images)), per_image(_predict(again, images)), "same seed")


def _predicts_alone_as_in_a_batch(component: Any) -> None:
    model = _fitted(component)
    images = textures(3, model.input.size[0], 1)
    together = per_image(_predict(model, images))
    for i in (0, 1):  # alone, a batch's highest would be right even if divided by it; two cannot
        alone = per_image(_predict(model, images, [i]))
        close([t[i : i + 1] for t in together], alone, "one image alone")


def _predicts_in_any_order(component: Any) -> None:
    model = _fitted(component)
    images = textures(3, model.input.size[0], 1)
    forward = [t[[2, 0, 1]] for t in per_image(_predict(model, images))]
    close(forward, per_image(_predict(model, images, [2, 0, 1])), "another order")


def _leaves_test_images_alone(component: Any) -> None:
    model = _fitted(component)
    images = textures(3, model.input.size[0], 1)
    before = images.clone()
    _predict(model, images)
    assert torch.equal(images, before), "predict wrote into the images it was given"


def _model_refit_forgets(component: Any) -> None:
    model, fresh = _fit(_fitted(component, 5), 0), _fitted(component, 0)
    images = textures(3, model.input.size[0], 1)
    close(per_image(_predict(model, images)), per_image(_predict(fresh, images)), "refit")


def _planted_blob_scores_above_normal(component: Any, scorers: Sequence[Any]) -> None:
    model = _fitted(component)
    fitting = [s for s in map(make, scorers) if s.accepts <= model.emits]
    if not fitting or DefectLogits in model.emits:
        raise Skipped("no scorer of images at hand accepts what it emits")
    side = model.input.size[0]
    for scorer in fitting:
        trained = Walked([_predict(model, textures(8, side))])
        scorer.fit(trained, torch.Generator().manual_seed(0))
        normal = scorer.score(_predict(model, textures(3, side, 1)))
        planted = scorer.score(_predict(model, textures(3, side, 2, blob=True)))
        if normal.image is not None:
            assert planted.image.min() > normal.image.max(), f"{scorer.name}: image scores"
        if planted.map is not None:
            blob_is_hot(planted.map, scorer.name)


CHECKS: dict[str, Any] = {
    "shapes_and_types": _predicts_what_it_declares,
    "same_seed_same_result": _predicts_the_same_from_the_same_seed,
    "subset_invariance": _predicts_alone_as_in_a_batch,
    "order_invariance": _predicts_in_any_order,
    "leaves_its_input_alone": _leaves_test_images_alone,
    "refit_forgets": _model_refit_forgets,
    "planted_blob_scores_above_normal": _planted_blob_scores_above_normal,
}
