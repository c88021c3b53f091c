"""A grid on one category: 2 preprocessors x (PatchCore with 3 scorers, PaDiM with its own).

ResNet-18 with random weights: the time is the same whatever the weights are.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
import torchvision

from adbench_harness.images import decoding, geometry
from adbench_harness.planning import plan, suite
from adbench_harness.planning.locations import Locations
from adbench_harness.results.store import TrialResult
from adbench_harness.results.trial import Bundle
from adbench_harness.running.bundle import load, run_bundle

CATEGORY = "metal"
ASKED = {
    "plugins": ["patchcore", "padim", "bgfilter"],
    "datasets": f"mini/{CATEGORY}",
    "preprocessors": "none,mean",
    "models": "patchcore:coreset_ratio=0.01:embedding=means,padim:dimensions=100",
    "backbone": "resnet18",
}


@pytest.fixture
def bundles(tmp_path: Path) -> tuple[Bundle, ...]:
    """One a preprocessor."""
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "resnet18-random.pth")
    asked = suite.validate(ASKED, "test")
    locations = Locations(weights=str(tmp_path))
    made = plan.make(asked, load(tuple(asked.plugins)), locations, device="auto").bundles
    assert [len(bundle.trials) for bundle in made] == [4, 4]
    return tuple(made)


def ran(bundles: tuple[Bundle, ...]) -> list[TrialResult]:
    results = [result for bundle in bundles for result in run_bundle(bundle)]
    assert not [failure for result in results for failure in result.failures]
    return results


def test_beside_its_dearest_pipelines(
    race: Callable[..., Any], benchmark: Any, bundles: tuple[Bundle, ...]
) -> None:
    """All trials take at most 1.6 times what the dearest of each preprocessor takes alone."""
    alone = []
    for bundle in bundles:
        dearest = max(ran((bundle,)), key=lambda result: sum(result.seconds_alone.values()))
        alone.append(replace(bundle, trials=(dearest.trial,)))
    peer = f"ours, {dearest.trial.model.name} · {dearest.trial.scorer.name} alone, twice"
    race("grid of 8 trials", lambda: ran(bundles), peer, lambda: ran(tuple(alone)))
    assert benchmark.extra_info["ratio"] > 1 / 1.6


def test_beside_as_many_separate_runs(
    race: Callable[..., Any],
    benchmark: Any,
    bundles: tuple[Bundle, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Five times as fast as 8 fits and tests of a peer's, at the same settings."""
    for module in ("data", "engine", "models"):
        pytest.importorskip(f"anomalib.{module}")  # outside of what is measured
    monkeypatch.chdir(tmp_path)  # the peer writes where it is
    # The peer is given what the preprocessors made: it has none.
    steps: Mapping[str, Callable[[geometry.Image], geometry.Image]] = {
        "none": lambda image: image,
        "mean": load(bundles[0].plugins).get("preprocessor", "mean")(),
    }
    for name, step in steps.items():
        copied(Path(bundles[0].root) / CATEGORY, tmp_path / name / CATEGORY, step)
    ours, theirs = race(
        "grid of 8 trials",
        lambda: ran(bundles),
        "anomalib, 8 fits and tests",
        lambda: [measured for name in steps for measured in separate(tmp_path / name)],
        rounds=1,
    )
    assert len(ours) == len(theirs)
    assert benchmark.extra_info["ratio"] > 5


def copied(source: Path, target: Path, step: Callable[[geometry.Image], geometry.Image]) -> None:
    for path in source.rglob("*.png"):
        image = decoding.decode(path)
        if "ground_truth" not in path.parts:
            image = step(image)
        made = target / path.relative_to(source)
        made.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(made), image[..., ::-1])


def separate(root: Path) -> Iterator[Any]:
    """What the peer measures in a run of its own for each model and scorer."""
    from anomalib.data import MVTecAD
    from anomalib.engine import Engine
    from anomalib.models import Padim, Patchcore

    size = Patchcore.configure_pre_processor((256, 256), (224, 224))
    for make in (
        *[
            lambda n=neighbours: Patchcore(
                "resnet18",
                pre_trained=False,
                coreset_sampling_ratio=0.01,
                num_neighbors=n,
                pre_processor=size,
                visualizer=False,
            )
            for neighbours in (1, 9, 9)
        ],
        lambda: Padim(pre_trained=False, n_features=100, pre_processor=size, visualizer=False),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            engine = Engine(logger=False, enable_progress_bar=False, default_root_dir=root)
            images = MVTecAD(root, CATEGORY, num_workers=0)
            model = make()
            engine.fit(model, datamodule=images)
            yield engine.test(model, datamodule=images, verbose=False)
