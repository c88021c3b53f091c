"""CutPaste (Li et al., CVPR 2021): features that tell pasted pieces, and a Gaussian of them."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness import reported
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Augmenter, Model, Recipe, Reported, Scorer


@hookimpl
def adbench_augmenters() -> Iterable[type[Augmenter]]:
    from adbench_cutpaste.augmenter import CutPaste, CutPasteScar

    return [CutPaste, CutPasteScar]


@hookimpl
def adbench_models() -> Iterable[type[Model]]:
    from adbench_cutpaste.model import CutPasteClassifier

    return [CutPasteClassifier]


@hookimpl
def adbench_scorers() -> Iterable[type[Scorer]]:
    from adbench_cutpaste.scorers import ImageMahalanobis

    return [ImageMahalanobis]


@hookimpl
def adbench_recipes() -> Iterable[Recipe]:
    base = {
        "augmenters": ["cutpaste:probability=1:turned=scars"],
        "scorers": ["image-mahalanobis"],
        "preprocessors": ["none"],
    }
    return [
        Recipe(
            "cutpaste",
            "3-way CutPaste with the paper's network, size and schedule.",
            base | {"models": ["cutpaste:preset=paper"]},
        ),
        Recipe(
            "cutpaste-sspcab",
            "The same, with an SSPCAB in the last block but one.",
            base | {"models": ["cutpaste:preset=paper:sspcab=true"]},
        ),
        Recipe(
            "cutpaste-scar",
            "Only scars, which makes the classifier a binary one.",
            base
            | {
                "augmenters": ["cutpaste-scar:probability=1"],
                "models": ["cutpaste:preset=paper:batch=32"],
            },
        ),
    ]


@hookimpl
def adbench_reported() -> Iterable[Reported]:
    return reported.read(__name__)
