"""Scorers turn ports into scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.running import contract
from adbench_harness.testing.common import (
    Check,
    Skipped,
    blob_is_hot,
    close,
    excuse,
    identical,
    make,
    per_image,
)
from adbench_harness.testing.fitting import Walked, tools
from adbench_harness.testing.reloading import reloaded
from adbench_harness.types import (
    AnomalyMap,
    DefectLogits,
    ImageBank,
    ImageEmbeddings,
    ImageScore,
    Latents,
    Level,
    LogDeterminants,
    Outputs,
    PatchBank,
    PatchEmbeddings,
    PatchGaussian,
    Reconstruction,
    Scores,
    overrides,
)

_GRID, _DEPTH, _SIDE = 6, 8, 48


def _outputs(component: Any, count: int = 4, planted: int | None = None) -> Outputs:
    """Outputs with every port that the scorer accepts; image ``planted`` has a defect."""
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
        Latents: lambda: Latents((Level(grid(count, _GRID, _GRID, _DEPTH) + hot[..., None]),)),
        LogDeterminants: lambda: LogDeterminants((Level(grid(count, _GRID, _GRID)),)),
        ImageEmbeddings: lambda: ImageEmbeddings(grid(count, _DEPTH) + score[:, None]),
        ImageBank: lambda: ImageBank(Neighbours(grid(20, _DEPTH))),
        Reconstruction: lambda: Reconstruction(images + defect, (images,)),
        AnomalyMap: lambda: AnomalyMap((Level(grid(count, _GRID, _GRID).abs() + hot),)),
        ImageScore: lambda: ImageScore(grid(count) + score),
        DefectLogits: lambda: DefectLogits(grid(count, 3), ("good", "a", "b")),
    }
    accepted = sorted(make(component).accepts, key=lambda port: port.__name__)
    if unknown := [port.__name__ for port in accepted if port not in ports]:
        raise Skipped(f"the checks cannot make its port {', '.join(unknown)}")
    return Outputs((_SIDE, _SIDE), *(ports[port]() for port in accepted))


def _part(outputs: Outputs, indices: Sequence[int]) -> Outputs:
    """The outputs of some of the images."""

    def cut(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value[list(indices)]
        if isinstance(value, Level):
            return Level(value.values[list(indices)], value.box, value.valid)
        if isinstance(value, tuple) and not all(isinstance(item, str) for item in value):
            return tuple(map(cut, value))
        return value

    ports = []
    for kind, port in outputs.ports.items():
        own = {name: value for name, value in vars(port).items() if name not in kind.shared}
        ports.append(replace(port, **{name: cut(value) for name, value in own.items()}))  # type: ignore[type-var]
    return Outputs(outputs.input_size, *ports)


def _fitted(component: Any) -> Any:
    scorer = make(component)
    scorer.fit(Walked([_outputs(component, 8)]), torch.Generator().manual_seed(0))
    if scorer.transductive:
        scorer.adapt([_outputs(component, 8, planted=0)])
    return scorer


def _score(scorer: Any, outputs: Outputs, count: int) -> list[Tensor]:
    with torch.no_grad():
        scores: Scores = scorer.score(outputs)
    contract.check_scores(scores, count, outputs.input_size)
    return [v for v in (scores.image, scores.map, scores.classes) if v is not None]


def _scored(component: Any, outputs: Outputs, count: int) -> list[Tensor]:
    return _score(_fitted(component), outputs, count)


def _scores_in_shape(component: Any) -> None:
    for values in _scored(component, _outputs(component), 4):
        assert values.dtype == torch.float32, f"scores are {values.dtype}, not torch.float32"


def _scores_the_same_twice(component: Any) -> None:
    outputs = _outputs(component)
    close(_scored(component, outputs, 4), _scored(component, outputs, 4), "the same outputs")


def _scores_alone_as_in_a_batch(component: Any) -> None:
    excuse(component, "transductive")
    outputs = _outputs(component)
    together = _scored(component, outputs, 4)
    for chosen in ([3, 1], [0], [2]):
        part = _scored(component, _part(outputs, chosen), len(chosen))
        close([v[chosen] for v in together], part, f"{len(chosen)} of four images")


def _leaves_outputs_alone(component: Any) -> None:
    outputs = _outputs(component)
    before = [t.clone() for t in per_image(outputs)]
    _scored(component, outputs, 4)
    identical(before, per_image(outputs), "the scorer wrote into the outputs that it was given")


def _reload_scores_the_same(component: Any) -> None:
    scorer, outputs = _fitted(component), _outputs(component)
    if not overrides(scorer, "fit"):
        raise Skipped("it learns nothing")
    again = reloaded(component, scorer, tools(None, _SIDE))
    before, after = (_score(s, outputs, 4) for s in (scorer, again))
    identical(before, after, "stored and loaded again")


def _scores_a_planted_defect_higher(component: Any) -> None:
    if DefectLogits in make(component).accepts:
        raise Skipped("classes have no order")
    scores = _fitted(component).score(_outputs(component, planted=2))
    if scores.image is not None:
        highest = int(scores.image.argmax())
        assert highest == 2, (
            f"an image without a defect scores {float(scores.image[highest]):.6g}, the one with a "
            f"planted defect {float(scores.image[2]):.6g}"
        )
    if scores.map is not None:
        blob_is_hot(scores.map[2:3], component.name)


CHECKS: dict[str, Check] = {
    "shapes_and_types": _scores_in_shape,
    "same_result_twice": _scores_the_same_twice,
    "subset_and_order_invariance": _scores_alone_as_in_a_batch,
    "leaves_its_input_alone": _leaves_outputs_alone,
    "reload_predicts_the_same": _reload_scores_the_same,
    "planted_defect_scores_higher": _scores_a_planted_defect_higher,
}
