"""Needs the extra ``anomalib``; never the network: weights are random, or files written here."""

from __future__ import annotations

import json
import socket

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("anomalib", reason="the extra 'anomalib' is not installed")

import anomalib.models.image
import huggingface_hub.constants
import timm
from anomalib.data import Folder
from anomalib.engine import Engine
from safetensors.torch import save_file

from adbench_anomalib import zoo
from adbench_anomalib.model import SQUARE, UNABLE
from adbench_harness.cli import main
from adbench_harness.errors import UserError
from adbench_harness.planning import plugins
from adbench_harness.planning.grammar import component
from adbench_harness.planning.parameters import build, parameters, resolve
from adbench_harness.results.store import Store
from adbench_harness.testing import make, parametrize_with_checks
from adbench_harness.testing.fitting import textures, tools, train
from adbench_harness.types import AnomalyMap, Batch, ImageScore, InputSpec

MODELS = {model.name.removeprefix("anomalib-"): model for model in zoo.models()}
HUB = ("timm/resnet18.a1_in1k",)
"""Repositories that the tests have in the hub's cache, with random weights."""


@pytest.fixture(scope="session")
def hub(tmp_path_factory):
    """A hub's cache, as ``huggingface_hub`` lays it out."""
    root = tmp_path_factory.mktemp("hub")
    for repository in HUB:
        folder = root / f"models--{repository.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs/main").write_text("0" * 40)
        snapshot = folder / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True)
        torch.manual_seed(0)
        network = timm.create_model(repository.partition("/")[2], pretrained=False)
        save_file(network.state_dict(), snapshot / "model.safetensors")
    return root


@pytest.fixture(autouse=True)
def offline(hub, monkeypatch, tmp_path):
    """No network, and no folder but our own."""

    def refuse(*_, **__):
        raise OSError("there is no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(hub))
    monkeypatch.chdir(tmp_path)


def fitted(model, images, seed=0):
    model.fit(train(images), tools(None, images.shape[-1], seed))
    return model


def predicted(model, images):
    with torch.no_grad():
        return model.predict(Batch(images, torch.arange(len(images))))


# ---------------------------------------------------------------- the zoo


def test_every_image_model_of_the_registry_is_offered():
    sources = {model.source for model in MODELS.values()}
    assert sources == {
        getattr(anomalib.models.image, name) for name in anomalib.models.image.__all__
    }
    assert len(MODELS) == len(sources) >= 25
    assert {"padim", "patchcore", "efficient_ad", "reverse_distillation", "winclip"} <= set(MODELS)
    for model in MODELS.values():
        assert "\n" not in model.summary


def test_its_parameters_are_anomalibs_and_its_input_is_its_pre_processors():
    catalogue = plugins.load(["anomalib"])
    wanted = component("anomalib-padim:network=resnet50:layers=[layer2]:n_features=7")
    choice = resolve(catalogue, "model", wanted)
    assert choice.changed == ("network", "layers", "n_features")
    padim = build(catalogue, "model", choice)
    assert padim.given["backbone"] == "resnet50"
    assert padim.given["layers"] == ("layer2",)
    assert padim.input == InputSpec(256, None, "squash")
    assert MODELS["padim"](size=128).input == InputSpec(128, None, "squash")
    assert MODELS["rad"]().input == InputSpec(512, 448, "squash")
    assert MODELS["rad"](size=128).input == InputSpec(128, None, "squash")
    assert MODELS["rad"](size=(64, 96)).input == InputSpec((64, 96), None)
    assert "api_key" not in parameters(MODELS["vlm_ad"])
    with pytest.raises(UserError, match=r"no parameter 'n_feature' .did you mean 'n_features'"):
        resolve(catalogue, "model", component("anomalib-padim:n_feature=7"))


def test_models_that_need_a_square_say_so_when_the_run_is_planned():
    assert set(SQUARE) <= {model.source.__name__ for model in MODELS.values()}
    catalogue = plugins.load(["anomalib"])
    choice = resolve(catalogue, "model", component("anomalib-ganomaly:size=64x96"))
    with pytest.raises(UserError, match=r"size=64x96.*must be square: its discriminator"):
        build(catalogue, "model", choice)


def test_a_model_that_says_how_long_it_trains_has_no_presets():
    assert zoo.passes(anomalib.models.image.Padim) == 1
    assert zoo.passes(anomalib.models.image.MHPatchcore) == 3
    assert zoo.passes(anomalib.models.image.WinClip) == 0
    assert zoo.passes(anomalib.models.image.Stfpm) is None
    assert not MODELS["padim"].presets
    assert list(MODELS["supersimplenet"].presets) == ["fast", "anomalib"]


@pytest.mark.parametrize("name", sorted(MODELS))
def test_what_can_be_built_here_trains_and_predicts(name):
    """The others are listed as skipped, each with what it lacks."""
    model = make(MODELS[name])
    side = model.input.size[0]
    try:
        fitted(model, textures(8, side))
    except UserError as reason:
        pytest.skip(str(reason))
    except ImportError as reason:
        pytest.skip(f"another package is missing: {reason}")
    except AttributeError as reason:
        if name != "glass":
            raise
        pytest.skip(f"anomalib 2.7's own mistake without pretrained weights: {reason}")
    outputs = predicted(model, textures(3, side, 1))
    assert set(outputs.ports) == model.emits
    assert outputs[ImageScore].values.shape == (3,)
    if AnomalyMap in model.emits:
        assert outputs[AnomalyMap].levels[0].values.shape[0] == 3
    assert sum(tensor.numel() for tensor in model.learned()) > 1000


# ---------------------------------------------------------------- faithful


def write(folder, images):
    folder.mkdir(parents=True)
    for i, image in enumerate(images):
        pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        cv2.imwrite(str(folder / f"{i:02}.png"), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))


def eights(images):
    """As a file of 8 bits a channel has them."""
    return (images * 255).round() / 255


@pytest.mark.parametrize(
    ("name", "given"), [("padim", {}), ("patchcore", {"coreset_sampling_ratio": 1.0})]
)
def test_maps_and_scores_are_those_of_anomalibs_own_engine(name, given, tmp_path):
    """Trained and asked through anomalib's engine, from the same files and the same seed.

    PatchCore keeps every patch: which ones a coreset takes depends on the order of the images.
    """
    normal, test = eights(textures(8, 64)), eights(textures(3, 64, 1, blob=True))
    model = MODELS[name]
    ours = fitted(model(**{**model.check_parameters, **given}), normal, seed=3)
    outputs = predicted(ours, test)

    write(tmp_path / "data/train", normal)
    write(tmp_path / "data/test", test)
    write(tmp_path / "data/good", normal[:2])
    data = Folder(
        name="data",
        root=tmp_path / "data",
        normal_dir="train",
        abnormal_dir="test",
        normal_test_dir="good",
        train_batch_size=8,
        num_workers=0,
        test_split_mode="from_dir",
        val_split_mode="same_as_test",
    )
    torch.manual_seed(int(torch.randint(2**32, (), generator=torch.Generator().manual_seed(3))))
    source = ours.source
    theirs = source(
        **ours.given, pre_processor=source.configure_pre_processor((64, 64)), post_processor=False
    )
    engine = Engine(default_root_dir=tmp_path / "runs", accelerator="cpu", barebones=True)
    engine.fit(theirs, datamodule=data)
    found = engine.predict(theirs, data_path=tmp_path / "data/test")
    maps = torch.cat([batch.anomaly_map for batch in found]).squeeze(1)
    scores = torch.cat([batch.pred_score.flatten() for batch in found])
    torch.testing.assert_close(outputs[AnomalyMap].levels[0].values, maps, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(outputs[ImageScore].values, scores, rtol=1e-3, atol=1e-3)
    assert maps.std() > 0.01


def test_training_follows_the_models_own_steps():
    """More epochs leave another, lower loss, and the curve is kept."""
    curves = {}

    def logged(name, value):
        curves.setdefault(name, []).append(value)

    model = MODELS["fastflow"](size=64, epochs=5, pre_trained=False)
    given = tools(None, 64)
    object.__setattr__(given, "log", logged)
    model.fit(train(textures(8, 64)), given)
    losses = next(values for name, values in curves.items() if "loss" in name)
    assert len(losses) == 5
    assert losses[-1] < losses[0]


# ---------------------------------------------------------------- the contract


@parametrize_with_checks([MODELS[name] for name in ("padim", "stfpm", "fastflow", "patchcore")])
def test_conformance(component, check):
    check(component)


def test_a_model_that_lacks_its_data_costs_its_own_rows_only(tmp_path):
    for part, count in (("train/good", 4), ("test/good", 2)):
        write(tmp_path / "parts/thing" / part, textures(count, 64, count))
    write(tmp_path / "parts/thing/test/spot", textures(2, 64, 9, blob=True))
    code = main(
        [
            *("run", "--plugins", "anomalib", "--datasets", "folder", "--device", "cpu"),
            *("--data", f"folder={tmp_path / 'parts'}", "--out", str(tmp_path / "out")),
            "--models",
            "anomalib-padim:size=64:pre_trained=false,anomalib-draem:size=64,anomalib-cfm",
        ]
    )
    assert code == 1
    results = {(r.trial.model.name, r.trial.scorer.name): r for r in Store(tmp_path / "out").read()}
    assert len(results) == 6
    for scorer in ("map", "own"):
        padim = results["anomalib-padim", scorer]
        assert padim.status == "ok", padim.failures
        assert np.isfinite(padim.metrics["image_auroc"])
        assert padim.metrics["flops"] > 0
        (failure,) = results["anomalib-draem", scorer].failures
        assert failure.stage == "fit"
        assert "anomalib-draem needs 'https://" in failure.message
        (failure,) = results["anomalib-cfm", scorer].failures
        assert UNABLE["CFM"] in failure.message
    assert json.dumps(padim.trial.model.params)
