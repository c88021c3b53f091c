"""Preprocessors change pixels and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from adbench_harness.images import geometry
from adbench_harness.images.inputs import checked
from adbench_harness.testing.common import Check, identical, make


def _photographs() -> list[geometry.Image]:
    """Images of odd sizes, light, dark and mixed."""
    draw = np.random.default_rng(0)
    images = [draw.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((64, 64), (37, 91))]
    return [*images, np.full((48, 48, 3), 200, np.uint8), np.zeros((33, 40, 3), np.uint8)]


def _fitted_preprocessor(component: Any, images: Sequence[geometry.Image]) -> Any:
    step = make(component)
    step.fit(iter(images))
    return step


def _keeps_geometry(component: Any) -> None:
    step = _fitted_preprocessor(component, _photographs())
    for image in _photographs():
        checked(step, image)


def _preprocesses_the_same_twice(component: Any) -> None:
    step = _fitted_preprocessor(component, _photographs())
    again = _fitted_preprocessor(component, _photographs())
    for image in _photographs():
        first = step(image)
        identical([first], [step(image)], "the same image again")
        identical([first], [again(image)], "the same image after the same fit")


def _leaves_the_image_alone(component: Any) -> None:
    step = _fitted_preprocessor(component, _photographs())
    for image in _photographs():
        before = image.copy()
        step(image)
        identical([before], [image], "the preprocessor wrote into the image that it was given")


def _preprocessor_refit_forgets(component: Any) -> None:
    step = _fitted_preprocessor(component, _photographs()[:2])
    step.fit(iter(_photographs()[2:]))
    fresh = _fitted_preprocessor(component, _photographs()[2:])
    for image in _photographs():
        identical([fresh(image)], [step(image)], "the second fit remembers the first")


CHECKS: dict[str, Check] = {
    "keeps_geometry": _keeps_geometry,
    "same_result_twice": _preprocesses_the_same_twice,
    "leaves_its_input_alone": _leaves_the_image_alone,
    "refit_forgets": _preprocessor_refit_forgets,
}
