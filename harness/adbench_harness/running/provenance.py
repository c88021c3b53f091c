"""Records what is needed to run a trial again, and marks that make its numbers incomparable."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from adbench_harness.planning.plugins import Catalogue
from adbench_harness.results.trial import SHORTENED, EvaluationSettings, Trial

_LIBRARIES = (
    *("numpy", "scipy", "opencv-python", "pillow", "numba", "scikit-image", "scikit-learn"),
    *("torchvision", "faiss-cpu", "faiss-gpu", "timm", "anomalib", "pyod"),
)


def provenance(
    trial: Trial,
    catalogue: Catalogue,
    device: torch.device | None,
    images: Mapping[str, int],
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Device, processor, versions, commit, weights, and the number of ``images`` of each split.

    ``device`` is None for a trial that was not run. ``notes`` are what a reader should know of
    the images.
    """
    return {
        **({} if device is None else {"device": device_name(device)}),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "libraries": libraries(),
        "plugins": {
            plugin.name: f"{Path(plugin.distribution).name} {plugin.version}"
            for plugin in catalogue.plugins.values()
        },
        "commit": commit(),
        "images": dict(images),
        **({"notes": list(notes)} if notes else {}),
        "weights": [asdict(replace(weights, path=None)) for weights in trial.weights],
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def device_name(device: torch.device) -> str:
    """The GPU's name, or ``cpu``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


@cache
def processor() -> str:
    """The processor's name; two processors may round differently."""
    with suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


@cache
def libraries() -> dict[str, str]:
    """The versions of the installed distributions that may change a number, by name."""
    found = {}
    for name in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def flags(trial: Trial, model: Any, scorer: Any | None) -> tuple[str, ...]:
    """Marks of a row that say why its numbers may not be comparable with others."""
    sizes = {name for preset in model.presets.values() for name in preset}
    found = [f"unverified weights {w.backbone}" for w in trial.weights if not w.verified]
    found += setting_flags(trial.evaluation)
    if not sizes.isdisjoint(trial.model.changed):
        found.append(SHORTENED)
    if model.transductive or (scorer is not None and scorer.transductive):
        found.append("transductive")
    if trial.unified and model.category_names:
        found.append("knows the category")
    return tuple(found)


def setting_flags(settings: EvaluationSettings) -> tuple[str, ...]:
    """The marks of evaluation settings that are not the harness's defaults."""
    border = f"border={settings.border}" if settings.border != "full" else ""
    size = f"size={settings.size}" if settings.size is not None else ""
    return tuple(filter(None, (border, size)))


@cache
def commit() -> str | None:
    """The git commit of the harness's own checkout, with ``+`` if it has been changed since."""
    try:
        _git("ls-files", "--error-unmatch", __file__)
        return _git("describe", "--always", "--dirty=+", "--exclude=*").strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    """What git prints, which must not take the lock that the user's own git may need."""
    return subprocess.run(
        ["git", "-C", str(Path(__file__).parent), *arguments],
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
        env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
    ).stdout
