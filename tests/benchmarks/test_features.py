"""From image files to a frozen backbone's grids, beside the loop that one would write by hand."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_image
from torchvision.models import get_model
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.transforms import v2

from adbench_harness.basic.datasets.folder import Folder
from adbench_harness.images import cache, folders
from adbench_harness.planning.samples import listed
from adbench_harness.results.trial import Bundle, Choice, EvaluationSettings, Trial, Weights
from adbench_harness.running import features
from adbench_harness.running.bundle import load
from adbench_harness.running.material import Material
from adbench_harness.types import InputSpec

COUNT = 48
SPEC = InputSpec(256, 224)
CASES = [
    ("resnet18", ("layer3",), "450.jpg"),
    ("resnet18", ("layer3",), "1000.jpg"),
    ("resnet18", ("layer3",), "1000.png"),
    ("wide_resnet50_2", ("layer2", "layer3"), "1000.jpg"),
]
MODEL = """
from adbench_harness.hookspecs import hookimpl
from adbench_harness.types import AnomalyMap, FeatureRequest, InputSpec

class Features:
    name, summary, paper, version = "features", "Asks for features and does nothing.", None, 1
    emits, protocols, augmentation = {AnomalyMap}, {"unsupervised"}, "none"
    input = InputSpec(256, 224)
    feature_requests = (FeatureRequest(%r, %r),)
    def fit(self, train, tools): ...
    def predict(self, batch): ...

@hookimpl
def adbench_models():
    return [Features]
"""


def drawn(folder: Path, kind: str) -> Path:
    """A data set of smooth noise under some grain, so that files are as large as photographs'."""
    side, suffix = kind.split(".")
    draw = np.random.default_rng(0)
    for number in range(COUNT):
        part = "train" if number < COUNT * 2 // 3 else "test"
        path = folder / "category" / part / "good" / f"{number:03}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = draw.integers(0, 256, (int(side) // 8, int(side) // 8, 3), np.uint8)
        smooth = cv2.resize(coarse, (int(side), int(side)), interpolation=cv2.INTER_CUBIC)
        grain = draw.integers(-6, 7, smooth.shape)
        cv2.imwrite(str(path), np.clip(smooth + grain, 0, 255).astype(np.uint8))
    return folder


class Files(Dataset[Tensor]):
    """Decoded by torchvision, resized with antialiasing and cropped, uint8."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> Tensor:
        image = decode_image(str(self.paths[place]), ImageReadMode.RGB)
        small = v2.functional.resize(image, [SPEC.resize], antialias=True)
        return v2.functional.center_crop(small, list(SPEC.size))


def by_hand(network: nn.Module, paths: list[Path], size: int, workers: int) -> dict[str, Tensor]:
    """The bare loop; the grids are kept, as ours are."""
    device = next(network.parameters()).device
    mean = torch.tensor([0.485, 0.456, 0.406], device=device)[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225], device=device)[:, None, None]
    grids: dict[str, list[Tensor]] = {}
    with torch.inference_mode():
        for images in DataLoader(Files(paths), batch_size=size, num_workers=workers):
            normal = (images.to(device).float().div_(255) - mean) / std
            made = network(normal.contiguous(memory_format=torch.channels_last))
            for layer, grid in made.items():
                grids.setdefault(layer, []).append(grid)
        return {layer: torch.cat(made) for layer, made in grids.items()}


def bundle(plugin: Path, root: Path, backbone: str) -> Bundle:
    """One trial of a model that asks for the backbone's layers, with random weights."""
    names, folder = (str(plugin),), Choice("folder", 1, {"table": ""})
    samples = listed(Folder(), root, "category", "unsupervised", 0)
    trial = Trial(
        dataset=folder,
        category="category",
        fingerprint=folders.fingerprint(root, samples),
        protocol="unsupervised",
        split_seed=0,
        preprocessors=(),
        augmenter=None,
        model=Choice("features", 1),
        scorer=Choice("", 0),
        weights=(Weights(backbone, 1),),
        seed=0,
        evaluation=EvaluationSettings(),
        metrics=(),
    )
    return Bundle(names, str(root), (trial,), tuple(samples), ("category",) * len(samples))


@pytest.mark.benchmark(group="features")
@pytest.mark.parametrize(("name", "layers", "kind"), CASES)
@pytest.mark.parametrize("kept", [False, True], ids=["", "kept"])
def test_features(
    race: Callable[..., Any],
    machine: Any,
    tmp_path: Path,
    name: str,
    layers: tuple[str, ...],
    kind: str,
    kept: bool,
) -> None:
    root = drawn(tmp_path / "data", kind)
    plugin = tmp_path / f"asks_{name}.py"
    plugin.write_text(MODEL % (name, layers))
    asked = bundle(plugin, root, name)
    catalogue = load(asked.plugins)
    weights = asked.trials[0].weights[0]
    backbone = catalogue.get("backbone", name)()
    # The same network for both, made beforehand; the process keeps it.
    normalised = features.FeatureStore(backbone, weights, machine.device).network(layers)
    whole = get_model(name, weights=None)
    network = create_feature_extractor(whole, list(layers)).eval()
    network.load_state_dict(normalised.state_dict())
    network = network.to(machine.device, memory_format=torch.channels_last)

    def ours() -> dict[str, Tensor]:
        if not kept:
            shutil.rmtree(cache.folder(), ignore_errors=True)
        material = Material(asked, catalogue, machine.device, lambda *_: None)
        store = features.FeatureStore(backbone, weights, machine.device)
        material._stores[name, SPEC] = store
        material.prepare()
        rows = [store._rows[handle] for handle in material.inputs[SPEC].handles.tolist()]
        paths[:] = [material.samples[place].image for place in np.argsort(rows)]
        return store._grids

    paths: list[Path] = []
    ours()

    def seconds(way: tuple[int, int]) -> float:
        start = time.perf_counter()
        by_hand(network, paths[:32], *way)
        return time.perf_counter() - start

    workers = torch.get_num_threads()
    size, processes = min(product((8, 16, 32), (0, workers)), key=seconds)
    mine, theirs = race(
        f"{COUNT} files of {kind}, {name}" + " again" * kept,
        ours,
        f"bare loop, batch {size}, {processes} workers",
        lambda: by_hand(network, paths, size, processes),
        rounds=5,
    )
    for layer in layers:
        difference = (mine[layer] - theirs[layer]).abs().mean() / theirs[layer].abs().mean()
        # Their decoders differ by a grey value here and there.
        assert difference < (1e-3 if kind.endswith("png") else 0.05)
