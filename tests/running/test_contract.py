from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from adbench_harness.errors import ContractError
from adbench_harness.nn.neighbours import Neighbours
from adbench_harness.running.contract import (
    check_chosen,
    check_outputs,
    check_scores,
    finite,
    shared_tensors,
    tensors,
)
from adbench_harness.types import (
    AnomalyMap,
    DefectLogits,
    ImageBank,
    ImageEmbeddings,
    ImageScore,
    Level,
    Outputs,
    PatchBank,
    PatchEmbeddings,
    PatchGaussian,
    Port,
    Reconstruction,
    Scores,
)

B = 2
PORTS: dict[str, Port] = {
    "embeddings": PatchEmbeddings((Level(torch.zeros(B, 4, 4, 5)), Level(torch.zeros(B, 2, 2, 5)))),
    "bank": PatchBank((Neighbours(torch.zeros(9, 5)),)),
    "gaussian": PatchGaussian(((torch.zeros(4, 4, 5), torch.zeros(4, 4, 5, 5)),)),
    "image embeddings": ImageEmbeddings(torch.zeros(B, 5)),
    "image bank": ImageBank(Neighbours(torch.zeros(9, 5))),
    "reconstruction": Reconstruction(torch.zeros(B, 3, 8, 8), (torch.zeros(B, 3, 4, 4),)),
    "map": AnomalyMap((Level(torch.zeros(B, 4, 4), valid=torch.ones(4, 4, dtype=torch.bool)),)),
    "score": ImageScore(torch.zeros(B)),
    "logits": DefectLogits(torch.zeros(B, 2), ("good", "a")),
}


def check(*ports: Port, emits: frozenset[type] | None = None) -> None:
    check_outputs(Outputs((8, 8), *ports), emits or frozenset(map(type, ports)), B)


@pytest.mark.parametrize("port", PORTS.values(), ids=PORTS)
def test_every_port_in_its_shape_passes(port: Port) -> None:
    check(port)


def test_all_ports_together_pass_and_more_than_declared_is_fine() -> None:
    check(*PORTS.values())
    check(*PORTS.values(), emits=frozenset({ImageScore}))


@pytest.mark.parametrize(
    ("port", "reason"),
    [
        (AnomalyMap((Level(torch.zeros(3, 4, 4)),)), "AnomalyMap: 3 entries for a batch of 2"),
        (ImageScore(torch.zeros(1)), "ImageScore: 1 entries for a batch of 2"),
        (DefectLogits(torch.zeros(3, 2), ("a", "b")), "DefectLogits: 3 entries for a batch of 2"),
        (ImageScore(torch.tensor([0.0, torch.nan])), "ImageScore holds a value that is not finite"),
        (
            AnomalyMap((Level(torch.zeros(B, 4, 4)), Level(torch.full((B, 4, 4), torch.inf)))),
            "AnomalyMap holds a value that is not finite",
        ),
        (
            PatchGaussian(((torch.zeros(5), torch.full((5, 5), torch.nan)),)),
            "PatchGaussian holds a value that is not finite",
        ),
        (
            AnomalyMap((Level(torch.zeros(B, 1, 4, 4)),)),
            r"AnomalyMap: shape \(2, 1, 4, 4\), not 3-d",
        ),
        (PatchEmbeddings((Level(torch.zeros(B, 16, 5)),)), "PatchEmbeddings: shape .* not 4-d"),
        (ImageScore(torch.zeros(B, 1)), r"ImageScore: shape \(2, 1\), not 1-d"),
        (ImageEmbeddings(torch.zeros(B, 5, 1)), "ImageEmbeddings: shape .* not 2-d"),
        (Reconstruction(torch.zeros(B, 3, 8, 8), (torch.zeros(B, 8, 8),)), "Reconstruction: shape"),
    ],
)
def test_broken_ports_are_named(port: Port, reason: str) -> None:
    with pytest.raises(ContractError, match=reason):
        check(port)


def test_what_was_learned_can_be_passed_over() -> None:
    broken = PatchGaussian(((torch.zeros(5), torch.full((5, 5), torch.nan)),))
    outputs = Outputs((8, 8), broken, PORTS["score"])
    check_outputs(outputs, frozenset({PatchGaussian}), B, shared=False)
    with pytest.raises(ContractError, match="PatchGaussian"):
        check_outputs(outputs, frozenset({PatchGaussian}), B)
    outputs = Outputs((8, 8), broken, ImageScore(torch.tensor([0.0, torch.nan])))
    with pytest.raises(ContractError, match="ImageScore"):
        check_outputs(outputs, frozenset({PatchGaussian}), B, shared=False)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], True),
        ([3e38, 3e38], True),  # the sum overflows, no value does
        ([3e38, 3e38, torch.nan], False),
        ([torch.inf, -torch.inf], False),
        ([0.0, torch.inf], False),
    ],
)
def test_finite_looks_at_values_not_at_their_sum(values: list[float], expected: bool) -> None:
    assert finite(torch.tensor(values)) is expected


def test_what_was_declared_must_be_there() -> None:
    with pytest.raises(ContractError, match="predict did not return the declared AnomalyMap, Ima"):
        check(PORTS["logits"], emits=frozenset({ImageScore, AnomalyMap, DefectLogits}))
    with pytest.raises(ContractError, match="predict returned tuple, not Outputs"):
        check_outputs((1, 2), frozenset(), B)


@pytest.mark.parametrize(
    "scores",
    [
        Scores(image=torch.zeros(B)),
        Scores(map=torch.zeros(B, 4, 4)),
        Scores(classes=torch.zeros(B, 2), class_names=("a", "b")),
        Scores(torch.zeros(B), torch.zeros(B, 4, 4)),
    ],
)
def test_scores_in_their_shape_pass(scores: Scores) -> None:
    check_scores(scores, B, (8, 8))


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        (None, "score returned NoneType, not Scores"),
        (Scores(), "neither an image score, nor a map, nor classes"),
        (Scores(image=torch.zeros(3)), r"image: shape \(3,\) for 2 images, not 1-d"),
        (Scores(image=torch.zeros(B, 1)), r"image: shape \(2, 1\) for 2 images, not 1-d"),
        (Scores(image=torch.tensor(1.0)), "image: shape .* for 2 images"),
        (Scores(map=torch.zeros(B, 1, 4, 4)), r"map: shape \(2, 1, 4, 4\) for 2 images, not 3-d"),
        (Scores(image=[0.0, 1.0]), "image: shape list for 2 images"),  # type: ignore[arg-type]
        (Scores(image=torch.tensor([0, torch.nan])), "image: a score is not finite"),
        (Scores(map=torch.full((B, 4, 4), torch.inf)), "map: a score is not finite"),
        (Scores(image=torch.tensor([torch.inf, -torch.inf])), "image: a score is not finite"),
        (Scores(image=torch.tensor([0.0, 1e300]).double()), "image: a score is not finite"),
        (
            Scores(map=torch.zeros(B, 4, 8)),
            r"map: 4 x 8 for an input of 8 x 8 \(height x width\); a map must cover",
        ),
        (
            Scores(classes=torch.zeros(B, 2), class_names=("a", 7)),
            "classes: a name must be a text, not 7",
        ),
        (
            Scores(classes=torch.zeros(B, 2), class_names=("a", "b", "c")),
            "classes: 2 columns for 3 names",
        ),
    ],
)
def test_broken_scores_are_named(scores: Any, reason: str) -> None:
    with pytest.raises(ContractError, match=reason):
        check_scores(scores, B, (8, 8))


@pytest.mark.parametrize("port", ["map", "score", "embeddings", "bank", "gaussian", "logits"])
def test_infinities_of_both_signs_do_not_cancel(port: str) -> None:
    values = PORTS[port]
    for tensor in (*tensors(values), *shared_tensors(values)):
        flat = tensor.view(-1)
        flat[0], flat[1] = torch.inf, -torch.inf
        with pytest.raises(ContractError, match="not finite"):
            check(values)
        flat[0] = flat[1] = 0
    check(values)


@pytest.mark.parametrize(
    ("shape", "size", "fits"),
    [
        ((28, 28), (224, 224), True),
        ((16, 25), (130, 200), True),
        ((24, 36), (224, 320), True),
        ((24, 16), (128, 192), False),
        ((32, 32), (128, 192), False),
        ((1, 1), (128, 128), True),
    ],
)
def test_a_map_has_the_aspect_of_the_input(
    shape: tuple[int, int], size: tuple[int, int], fits: bool
) -> None:
    scores = Scores(map=torch.zeros(B, *shape))
    level = AnomalyMap((Level(torch.zeros(B, *shape)),))
    if fits:
        check_scores(scores, B, size)
        check_outputs(Outputs(size, level), frozenset({AnomalyMap}), B)
        return
    with pytest.raises(ContractError, match="a map must cover the whole input"):
        check_scores(scores, B, size)
    with pytest.raises(ContractError, match="a map must cover the whole input"):
        check_outputs(Outputs(size, level), frozenset({AnomalyMap}), B)


def test_a_level_has_the_aspect_of_its_own_box() -> None:
    level = Level(torch.zeros(B, 4, 8), box=(0, 0, 4, 8))
    check_outputs(Outputs((8, 8), AnomalyMap((level,))), frozenset({AnomalyMap}), B)


def test_what_fit_chose_is_plain() -> None:
    check_chosen({})
    check_chosen({"size": 3, "name": "é", "share": 0.5, "own": True, "other": np.float64(2)})


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ("text", "chosen returned str, not a mapping"),
        (None, "chosen returned NoneType, not a mapping"),
        ({3: 3}, "chosen: a name must be a text, not int"),
        ({"a": {1}}, "chosen: 'a' must be a text or a finite number, not set"),
        ({"a": np.int64(1)}, "chosen: 'a' must be a text or a finite number, not int64"),
        ({"a": math.nan}, "chosen: 'a' must be a text or a finite number, not float"),
        ({"a": -math.inf}, "chosen: 'a' must be a text or a finite number, not float"),
        ({"a": torch.zeros(2)}, "chosen: 'a' must be a text or a finite number, not Tensor"),
    ],
)
def test_what_a_result_cannot_store_is_refused(chosen: Any, said: str) -> None:
    with pytest.raises(ContractError, match=said):
        check_chosen(chosen)
