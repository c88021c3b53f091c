from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import FrozenInstanceError, asdict, replace
from typing import Any

import pytest

from adbench_harness.results.trial import Bundle, Choice, EvaluationSettings, Trial, Weights, show

INNER = {"name": "padim", "version": 2, "params": {"dims": 64}, "changed": ["dims"]}
TRIAL = Trial(
    dataset=Choice("mvtec_ad", 1),
    category="bottle",
    fingerprint="0123",
    protocol="unsupervised",
    split_seed=0,
    preprocessors=(Choice("mean", 1, {"size": 11}, ("size",)), Choice("median", 1)),
    augmenter=Choice("cutpaste", 1),
    model=Choice("patchcore", 1, {"ratio": 0.1, "layers": ["a"], "inner": INNER}, ("ratio",)),
    scorer=Choice("nn", 1),
    weights=(Weights("resnet18", 1, "/here/resnet18.pth", "f37072fd", True),),
    seed=3,
    evaluation=EvaluationSettings(256, "crop"),
    metrics=("image_auroc@1", "aupro@1"),
    auxiliary=(("dtd", "abcd"),),
)


def test_survives_json() -> None:
    copy = Trial.from_json(json.loads(json.dumps(asdict(TRIAL))))
    assert copy == TRIAL
    assert copy.id == TRIAL.id


def test_ids_are_those_of_results_from_before_there_was_a_precision() -> None:
    assert TRIAL.id == "52be8b62d85594ce"
    stored = json.loads(json.dumps(asdict(TRIAL)))
    del stored["weights"][0]["precision"]
    assert Trial.from_json(stored) == TRIAL


def test_a_precision_is_seen_in_the_backbones_label() -> None:
    assert TRIAL.backbone == "resnet18"
    assert with_weights(precision="bfloat16").backbone == "resnet18(precision=bfloat16)"


def test_survives_json_without_an_augmenter() -> None:
    bare = replace(TRIAL, augmenter=None, preprocessors=(), weights=(), auxiliary=())
    assert Trial.from_json(json.loads(json.dumps(asdict(bare)))) == bare


def test_id_is_the_same_in_every_process() -> None:
    code = (
        "import json, sys; from adbench_harness.results.trial import Trial; "
        "print(Trial.from_json(json.load(sys.stdin)).id)"
    )
    # Another hash seed and another order of keys: neither may matter.
    shuffled = dict(reversed(asdict(TRIAL).items()))
    shuffled["model"]["params"] = dict(reversed(shuffled["model"]["params"].items()))
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(shuffled),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert done.stdout.strip() == TRIAL.id
    assert len(TRIAL.id) == 16


def with_weights(**changes: Any) -> Trial:
    return replace(TRIAL, weights=(replace(TRIAL.weights[0], **changes),))


def with_model(**changes: Any) -> Trial:
    return replace(TRIAL, model=replace(TRIAL.model, **changes))


@pytest.mark.parametrize(
    "other",
    [
        replace(TRIAL, dataset=Choice("mvtec_ad", 2)),
        replace(TRIAL, category="cable"),
        replace(TRIAL, fingerprint="4567"),
        replace(TRIAL, protocol="classification"),
        replace(TRIAL, split_seed=1),
        replace(TRIAL, preprocessors=TRIAL.preprocessors[::-1]),
        replace(TRIAL, preprocessors=()),
        replace(TRIAL, augmenter=None),
        replace(TRIAL, augmenter=Choice("cutpaste", 2)),
        with_model(name="padim"),
        with_model(version=2),
        with_model(params={**TRIAL.model.params, "ratio": 0.2}),
        with_model(params={**TRIAL.model.params, "inner": {**INNER, "version": 3}}),
        replace(TRIAL, scorer=Choice("nn", 1, {"k": 2}, ("k",))),
        with_weights(sha256="00000000"),
        with_weights(version=2),
        replace(TRIAL, weights=()),
        replace(TRIAL, seed=4),
        replace(TRIAL, evaluation=EvaluationSettings(None, "crop")),
        replace(TRIAL, evaluation=EvaluationSettings(256, "full")),
        replace(TRIAL, metrics=("image_auroc@2", "aupro@1")),
        replace(TRIAL, auxiliary=(("dtd", "efgh"),)),
        with_weights(precision="bfloat16"),
        replace(TRIAL, protocol="zero-shot"),
        replace(TRIAL, shots=4),
        replace(TRIAL, shots=4, shot_seed=1),
        replace(TRIAL, validation=0.1),
        replace(TRIAL, unified=True),
        replace(TRIAL, files=("a.toml",)),
    ],
)
def test_id_covers_all_that_may_change_numbers(other: Trial) -> None:
    assert other.id != TRIAL.id


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (TRIAL, "seed"),
        (TRIAL.model, "version"),
        (TRIAL.weights[0], "sha256"),
        (TRIAL.evaluation, "size"),
    ],
)
def test_what_an_id_covers_cannot_be_changed(value: Any, name: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, getattr(value, name))


def test_an_id_is_what_it_was_for_the_first_results() -> None:
    assert TRIAL.id == "52be8b62d85594ce"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"shots": 4}, "4-shot"),
        ({"protocol": "zero-shot"}, "zero-shot"),
        ({"unified": True}, "unified"),
        ({"unified": True, "shots": 4}, "unified, 4-shot"),
        ({"protocol": "classification"}, "classification"),
    ],
)
def test_a_setting_is_named_where_it_is_not_the_usual_one(
    changes: dict[str, Any], words: str
) -> None:
    assert replace(TRIAL, **changes).setting == words


def test_weights_without_a_file_count_as_verified() -> None:
    assert Weights("embedded", 1).verified
    assert replace(TRIAL, weights=(Weights("embedded", 1),)).id == "04fb4ed7565ba7da"


def test_id_does_not_cover_where_files_are() -> None:
    assert with_weights(path="/there/renamed.pth").id == TRIAL.id


def test_titles_name_the_split_and_the_draw_but_for_the_first() -> None:
    other = replace(TRIAL, split_seed=2, shots=4, shot_seed=1)
    first = replace(other, split_seed=0, shot_seed=0)
    assert other.title == first.title.replace("seed 3", "split 2 · draw 1 · seed 3")
    titles = [Bundle((), "", (trial,), (), ()).title for trial in (first, other)]
    place, chain = titles[0].split(" · ")
    assert titles[1] == f"{place} · split 2 · draw 1 · {chain}"


def test_names_for_tables() -> None:
    assert TRIAL.preprocessor == "mean(size=11)+median"
    assert TRIAL.backbone == "resnet18"
    assert replace(TRIAL, preprocessors=(), weights=()).preprocessor == "none"
    assert replace(TRIAL, weights=()).backbone == "none"
    assert TRIAL.title == (
        "mvtec_ad/bottle · mean(size=11)+median · cutpaste · patchcore(ratio=0.1) · nn · seed 3"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("max", "max"),
        ("", "''"),
        (" max", "' max'"),
        ("a,b", "'a,b'"),
        ("it's", '"it\'s"'),
        (None, "none"),
        (True, "true"),
        (0.5, "0.5"),
        ((1, "a+b"), "[1,'a+b']"),
        (INNER, "padim(dims=64)"),
    ],
)
def test_a_value_is_shown_in_the_grammar_of_the_command_line(value: Any, shown: str) -> None:
    assert show(value) == shown
