"""Background filters and a kNN-averaged score for PatchCore (Son, Kim, Kang and Lee, KAIST)."""

from __future__ import annotations

from collections.abc import Iterable

from adbench_harness import reported
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import Preprocessor, Recipe, Reported, Scorer

requires = ("patchcore",)


@hookimpl
def adbench_preprocessors() -> Iterable[type[Preprocessor]]:
    from adbench_bgfilter.preprocessors import MeanFilter, MedianFilter

    return [MeanFilter, MedianFilter]


@hookimpl
def adbench_scorers() -> Iterable[type[Scorer]]:
    from adbench_bgfilter.scorers import NeighbourMean

    return [NeighbourMean]


@hookimpl
def adbench_recipes() -> Iterable[Recipe]:
    base = {
        "models": ["patchcore:embedding=concatenated:aspect=squash"],
        "backbone": "wide_resnet50_2",
        "scorers": ["nn-reweighted:weighting=hcw-00:distance=squared"],
        "preprocessors": ["none"],
        "evaluation": {"border": "crop"},
        "seeds": 7,
    }
    filtered = {"preprocessors": ["mean:size=11"]}
    averaged = {"scorers": ["knn-mean:image=hcw-00:distance=squared"]}
    return [
        Recipe("bgfilter-baseline", "PatchCore 1% as in the paper (hcw-00's code).", base),
        Recipe("bgfilter", "The baseline on a mean-filtered background.", base | filtered),
        Recipe("bgfilter-knn-mean", "The baseline with the averaged map.", base | averaged),
    ]


@hookimpl
def adbench_reported() -> Iterable[Reported]:
    return reported.read(__name__)
