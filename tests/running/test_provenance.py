from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from adbench_harness.results.trial import SHORTENED, EvaluationSettings, Weights
from adbench_harness.running import provenance
from adbench_harness.running.bundle import load


@pytest.fixture
def trial(planned):
    (bundle,) = planned()
    return bundle.trials[0]


def test_what_one_needs_to_run_a_trial_again(trial, toys):
    trial = replace(trial, weights=(Weights("net", 2, "/home/me/net.pth", "ab12"),))
    told = provenance.provenance(trial, load((toys,)), torch.device("cpu"), {"train": 4})
    assert told["device"] == "cpu"
    assert told["torch"] == torch.__version__
    assert told["libraries"]["numpy"] == np.__version__
    assert told["processor"]
    assert told["images"] == {"train": 4}
    assert set(told["plugins"]) == {"toys", "basic"}
    assert "/" not in told["plugins"]["toys"], "no path of this machine"
    [weights] = told["weights"]
    assert (weights["backbone"], weights["sha256"], weights["path"]) == ("net", "ab12", None)
    assert datetime.fromisoformat(told["finished"]).tzinfo is not None
    assert "device" not in provenance.provenance(trial, load((toys,)), None, {})


def component(**members):
    usual = {"presets": {}, "transductive": False, "category_names": False}
    return SimpleNamespace(**{**usual, **members})


@pytest.mark.parametrize(
    ("changes", "model", "expected"),
    [
        ({}, {}, ()),
        ({}, {"transductive": True}, ("transductive",)),
        ({"unified": True}, {"category_names": True}, ("knows the category",)),
        ({}, {"category_names": True}, ()),
        (
            {"weights": (Weights("net", 1, "net.pth", "ab", verified=False),)},
            {},
            ("unverified weights net",),
        ),
        ({"evaluation": EvaluationSettings(64, "crop")}, {}, ("border=crop", "size=64")),
    ],
)
def test_a_row_is_marked_where_its_numbers_may_not_compare(trial, changes, model, expected):
    trial = replace(trial, **changes)
    assert provenance.flags(trial, component(**model), component()) == expected


def test_a_preset_that_changes_the_schedule_is_marked(trial):
    model = component(presets={"fast": {"epochs": 3}, "paper": {}})
    shortened = replace(trial, model=replace(trial.model, changed=("epochs",)))
    other = replace(trial, model=replace(trial.model, changed=("gain",)))
    assert provenance.flags(shortened, model, component()) == (SHORTENED,)
    assert provenance.flags(other, model, component()) == ()


def test_without_git_there_is_no_commit(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError("git")

    provenance.commit.cache_clear()
    monkeypatch.setattr(subprocess, "run", missing)
    assert provenance.commit() is None
    provenance.commit.cache_clear()


def test_git_does_not_lock_the_index_of_the_user(monkeypatch):
    seen = []

    def git(command, *, env, **_):
        seen.append((command[3], env["GIT_OPTIONAL_LOCKS"]))
        return subprocess.CompletedProcess(command, 0, "abc\n", "")

    provenance.commit.cache_clear()
    monkeypatch.setattr(subprocess, "run", git)
    assert provenance.commit() == "abc"
    assert seen == [("ls-files", "0"), ("describe", "0")]
    provenance.commit.cache_clear()
