"""Augmenters change what lies under their masks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from adbench_harness.testing.common import (
    Check,
    make,
)
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
    assert isinstance(result, Augmented), f"augment returned {type(result).__name__}"
    return result


def _augments_within_its_mask(component: Any) -> None:
    images = textures(8, 64)
    result = _augment(component, images.clone())
    outside = ~result.masks[:, None].expand_as(images)
    assert torch.equal(result.images[outside], images[outside]), "changed pixels outside the mask"


def _augments_in_shape(component: Any) -> None:
    images = textures(8, 64)
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
    images = textures(8, 64)
    first, again = _augment(component, images.clone()), _augment(component, images.clone())
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.masks, again.masks)
    assert not torch.equal(first.images, _augment(component, images.clone(), 1).images)


def _leaves_the_batch_alone(component: Any) -> None:
    images = textures(8, 64)
    before = images.clone()
    _augment(component, images)
    assert torch.equal(images, before), "the augmenter wrote into the images it was given"


CHECKS: dict[str, Check] = {
    "changes_nothing_outside_its_mask": _augments_within_its_mask,
    "shapes_and_types": _augments_in_shape,
    "same_seed_same_result": _augments_the_same_twice,
    "leaves_its_input_alone": _leaves_the_batch_alone,
}
