from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from adbench_harness.compare.repetition import repetition, text
from adbench_harness.results.store import Failure, TrialResult
from adbench_harness.results.trial import Choice, EvaluationSettings, Trial

TRIAL = Trial(
    dataset=Choice("mini", 1),
    category="grass",
    fingerprint="0123456789abcdef",
    protocol="unsupervised",
    split_seed=0,
    preprocessors=(),
    augmenter=None,
    model=Choice("padim", 1),
    scorer=Choice("gauss", 1),
    weights=(),
    seed=0,
    evaluation=EvaluationSettings(),
    metrics=("aupro@1",),
)
HERE = {
    "device": "cpu",
    "processor": "one",
    "threads": 1,
    "python": "3.11",
    "torch": "2.15",
    "libraries": {"numpy": "2.0"},
    "plugins": {"padim": "adbench-harness 1"},
    "commit": "abc",
}
SCORES = np.linspace(0, 1, 8, dtype=np.float32)


def result(
    scores: Any = SCORES,
    provenance: dict[str, Any] | None = None,
    changes: dict[str, Any] | None = None,
    images: dict[str, Any] | None = None,
    **metrics: float,
) -> TrialResult:
    arrays = {
        "path": np.array([f"{i}.png" for i in range(8)]),
        "defect": np.array(["good"] * 4 + ["hole"] * 4),
        "label": np.array([0] * 4 + [1] * 4, np.int8),
        "score": scores,
    } | (images or {})
    made = TrialResult(
        TRIAL,
        "ok",
        metrics={"aupro": 0.8, "flops": 10.0, "fit_seconds": 1.0, **metrics},
        provenance={**HERE, **(provenance or {})},
        images={name: values for name, values in arrays.items() if values is not None},
    )
    return replace(made, **{"chosen": {"dimension": 4}, **(changes or {})})


def test_the_same_numbers_match_and_seconds_are_not_compared() -> None:
    found = repetition(result(), result(fit_seconds=9.0))
    assert (found.exact, found.mismatches) == (True, ())
    matches = {value.metric: value.matches for value in found.values}
    assert matches == {"aupro": True, "flops": True, "fit_seconds": None}


@pytest.mark.parametrize(
    ("new", "mismatches"),
    [
        (result(aupro=np.nextafter(0.8, 1)), ("aupro",)),
        (result(aupro=float("nan")), ("aupro",)),
        (result(added=1.0), ("added",)),
        (result(flops=11.0), ("flops",)),
        (result(scores=np.nextafter(SCORES, np.float32(2))), ("image scores",)),
        (result(changes={"chosen": {"dimension": 3}}), ("chosen dimension (4 → 3)",)),
        (result(changes={"failures": (Failure("fit", "no", ""),)}), ("failures",)),
        (result(changes={"status": "failed"}), ("status",)),
        (result(changes={"flags": ("size=64",)}), ("flags",)),
        (result(images={"label": np.zeros(8, np.int8)}), ("label of the images",)),
        (result(images={"path": np.array(["a.png"] * 8)}), ("path of the images",)),
        (result(images={"score": None}), ("kinds of values of the images",)),
        (
            result(images={"score": SCORES[:7], "label": np.zeros(7, np.int8)}),
            ("label of the images",),
        ),
    ],
)
def test_any_difference_is_a_mismatch_on_the_same_machine(
    new: TrialResult, mismatches: tuple[str, ...]
) -> None:
    found = repetition(result(), new)
    assert found.mismatches == mismatches
    assert text(found).endswith(f"does not match: {mismatches[0]}")


@pytest.mark.parametrize(
    ("provenance", "said"),
    [
        ({"device": "NVIDIA"}, "device: cpu → NVIDIA"),
        ({"processor": "two"}, "processor: one → two"),
        ({"threads": 2}, "threads: 1 → 2"),
        ({"torch": "2.16"}, "torch: 2.15 → 2.16"),
        ({"commit": None}, "commit: abc → not recorded"),
        ({"libraries": {"numpy": "2.1"}}, "numpy: 2.0 → 2.1"),
        ({"plugins": {"padim": "adbench-harness 2"}}, "padim: adbench-harness 1 → "),
    ],
)
def test_what_differs_is_said_and_gets_a_tolerance(provenance: dict[str, Any], said: str) -> None:
    near = result(SCORES + np.float32(0.001), provenance, aupro=0.804)
    found = repetition(result(), near)
    assert said in found.others[0]
    assert (found.exact, found.mismatches) == (False, ())
    far = result(SCORES[::-1].copy(), provenance, aupro=0.806, flops=11.0)
    assert repetition(result(), far).mismatches == ("aupro", "flops", "image scores")


def test_a_gpu_repeats_its_bits_only_with_deterministic_algorithms() -> None:
    gpu = {"device": "NVIDIA"}
    plain, sure = result(provenance=gpu), result(provenance={**gpu, "deterministic": True})
    assert not repetition(plain, sure).exact
    assert repetition(sure, sure).exact


def test_an_older_record_is_compared_with_what_it_has() -> None:
    old = result(provenance={"libraries": None, "processor": None}, changes={"chosen": {}})
    found = repetition(old, result())
    assert found.others == ("processor: not recorded → one", "libraries: not recorded → numpy 2.0")
    assert found.mismatches == ()


def test_a_trial_that_cannot_be_planned_says_nothing_of_its_images() -> None:
    failed = result(changes={"failures": (Failure("plan", "broken", ""),)})
    assert "images: not compared" in text(repetition(failed, failed))
