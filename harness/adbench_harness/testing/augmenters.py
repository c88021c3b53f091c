"""Augmenters change only the pixels under their masks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from adbench_harness.testing.common import Check, identical, make
from adbench_harness.testing.fitting import textures, tools, train
from adbench_harness.types import (
    Augmented,
    Batch,
)


def _augment(component: Any, images: Tensor, seed: int = 0) -> Augmented:
    augmenter = make(component)
    augmenter.fit(train(images), tools(None, images.shape[-1]))
    batch = Batch(images=images, seeds=torch.arange(len(images)), handles=tuple(range(len(images))))
    result = augmenter.augment(batch, torch.Generator().manual_seed(seed))
    assert isinstance(result, Augmented), f"augment returned {type(result).__name__}, not Augmented"
    return result


def _augments_within_its_mask(component: Any) -> None:
    images = textures(8, 64)
    result = _augment(component, images.clone())
    outside = ~result.masks[:, None].expand_as(images)
    identical([images[outside]], [result.images[outside]], "pixels outside the mask")


def _augments_in_shape(component: Any) -> None:
    images = textures(8, 64)
    result = _augment(component, images.clone())
    for name, made, shape, dtype in (
        ("images", result.images, images.shape, torch.float32),
        ("masks", result.masks, (8, 64, 64), torch.bool),
        ("kind", result.kind, (8,), torch.int64),
    ):
        assert tuple(made.shape) == tuple(shape), f"{name}: shape {[*made.shape]}, not {[*shape]}"
        assert made.dtype == dtype, f"{name}: type {made.dtype}, not {dtype}"
    low, high = float(result.images.min()), float(result.images.max())
    assert 0 <= low <= high <= 1, f"images has values from {low:.6g} to {high:.6g}, not in [0, 1]"
    kinds = len(component.kinds)
    assert result.kind.min() >= 0, f"kind has the negative value {int(result.kind.min())}"
    assert result.kind.max() <= kinds, f"kind has {int(result.kind.max())}; there are {kinds} kinds"
    masked = int(result.masks[result.kind == 0].flatten(1).any(1).sum())
    assert not masked, f"{masked} images have a mask, but their kind is 0 (no anomaly)"
    assert result.masks.any(), "none of 8 images was augmented"


def _augments_the_same_twice(component: Any) -> None:
    images = textures(8, 64)
    first, again = _augment(component, images.clone()), _augment(component, images.clone())
    identical([first.images, first.masks], [again.images, again.masks], "the same seed")
    other = _augment(component, images.clone(), 1)
    assert not torch.equal(first.images, other.images), "seeds 0 and 1 give the same images"


def _leaves_the_batch_alone(component: Any) -> None:
    images = textures(8, 64)
    before = images.clone()
    _augment(component, images)
    identical([before], [images], "the augmenter wrote into the images that it was given")


CHECKS: dict[str, Check] = {
    "changes_nothing_outside_its_mask": _augments_within_its_mask,
    "shapes_and_types": _augments_in_shape,
    "same_seed_same_result": _augments_the_same_twice,
    "leaves_its_input_alone": _leaves_the_batch_alone,
}
