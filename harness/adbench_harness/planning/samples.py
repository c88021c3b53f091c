"""Chooses the images of a category for training, for validation and for testing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adbench_harness.datasets import draw
from adbench_harness.errors import ContractError, UserError, interrupted, said
from adbench_harness.images import survey
from adbench_harness.images.folders import relative
from adbench_harness.results.trial import Trial
from adbench_harness.types import SPLITS, Dataset, ProtocolName, Sample, Split


@dataclass(frozen=True)
class Setting:
    """How the samples of a category are used.

    ``shots`` is the number of normal images to learn from (None: all), drawn by ``shot_seed``;
    ``validation`` is the share of the normal training images that is held out, drawn by
    ``split_seed``.
    """

    protocol: ProtocolName = "unsupervised"
    split_seed: int = 0
    shots: int | None = None
    shot_seed: int = 0
    validation: float = 0.0

    @staticmethod
    def of(trial: Trial) -> Setting:
        """The setting of a trial."""
        return Setting(
            trial.protocol, trial.split_seed, trial.shots, trial.shot_seed, trial.validation
        )


def everything(dataset: Dataset, root: Path) -> list[Sample]:
    """The samples of all categories, unchanged, as an auxiliary data set provides them."""
    found = [s for name in dataset.categories(root) for s in dataset.samples(root, name, 0)]
    return survey.settled(dataset, root, found)


@dataclass(frozen=True)
class Listed:
    """A category's samples under a protocol, and what a reader should know of them."""

    samples: list[Sample]
    notes: tuple[str, ...]


def listed(
    dataset: Dataset, root: Path, category: str, protocol: ProtocolName, split_seed: int
) -> list[Sample]:
    """A category's samples under a protocol, before any draw; these are fingerprinted.

    Raises UserError if no image is left to learn from or to test on, or if an image or a group is
    in two splits, and ContractError if the data set fails.
    """
    return _listed(dataset, root, category, protocol, split_seed)[1]


def noted(dataset: Dataset, root: Path, category: str, setting: Setting) -> Listed:
    """As ``listed``, with notes, which also see the images that ``setting`` holds out."""
    protocol = setting.protocol
    whole, samples = _listed(dataset, root, category, protocol, setting.split_seed)
    held = set(indices(samples, root, category, setting)["validation"])
    used = [
        replace(sample, split="validation") if i in held else sample
        for i, sample in enumerate(samples)
    ]
    found = [*dataset.notes(root, category, whole), *survey.notes(root, used)]
    if departure := dataset.departure(category, whole):
        found.append(f"the counts differ from the published ones: {departure}")
    if dataset.mask_threshold is None:  # otherwise no mask is read before a trial
        found += survey.covered(survey.shares(root, samples), dataset.empty_masks.get(category, 0))
    if protocol != "classification":
        found += [*survey.unused(whole), *survey.absent(samples)]
    return Listed(samples, tuple(found))


def _listed(
    dataset: Dataset, root: Path, category: str, protocol: ProtocolName, split_seed: int
) -> tuple[list[Sample], list[Sample]]:
    """The samples as the data set lists them, and those of the protocol."""
    subject = f"data set '{dataset.name}', category '{category}'"
    try:
        whole = list(dataset.samples(root, category, split_seed))
    except UserError:
        raise
    except BaseException as error:
        if interrupted(error):
            raise
        raise ContractError(f"{subject}: listing its samples failed: {said(error)}") from error
    if protocol == "classification":
        samples = draw.classification(root, whole, split_seed)
    else:
        samples = [sample for sample in whole if sample.split == "test" or not sample.label]
    for split in ("test",) if protocol == "zero-shot" else ("train", "test"):
        if not any(sample.split == split for sample in samples):
            raise UserError(f"{subject}: no {split} image under '{root}'")
    for what in ("image", "group"):
        seen: dict[Any, str] = {}
        for sample in samples:
            key = getattr(sample, what)
            if key is not None and seen.setdefault(key, sample.split) != sample.split:
                raise UserError(
                    f"{subject}: {what} '{key}' is in {seen[key]} and in {sample.split}"
                )
    return whole, survey.settled(dataset, root, samples)


def indices(
    samples: Sequence[Sample], root: Path, category: str, setting: Setting
) -> dict[Split, list[int]]:
    """The indices of a category's ``samples`` in each split; some may be in no split.

    Held-out images are drawn first, so that they are the same for any number of shots, and in whole
    groups. Raises UserError if too few normal images are left.
    """
    found: dict[Split, list[int]] = {
        split: [i for i, sample in enumerate(samples) if sample.split == split] for split in SPLITS
    }
    if setting.validation:
        normal = [i for i in found["train"] if not samples[i].label]
        groups = {i: draw.group(root, samples[i]) for i in normal}
        order = draw.drawn(groups.values(), f"validation:{setting.split_seed}")
        held = set(order[: max(1, round(setting.validation * len(order)))])
        out = {i for i in normal if groups[i] in held}
        found["validation"] = sorted({*found["validation"], *out})
        found["train"] = [i for i in found["train"] if i not in out]
        if normal and out.issuperset(normal):
            raise UserError(
                f"category '{category}': validation {setting.validation} of {len(normal)} normal "
                "training images leaves none to learn from; hold out fewer"
            )
    if setting.shots is not None:
        names = {i: relative(root, samples[i].image) for i in found["train"]}
        if setting.shots > len(names):
            raise UserError(
                f"category '{category}': {setting.shots} shots, but only {len(names)} training "
                "images; ask for fewer"
            )
        chosen = set(draw.drawn(names.values(), setting.shot_seed)[: setting.shots])
        found["train"] = [i for i in found["train"] if names[i] in chosen]
    if setting.protocol == "zero-shot":
        found["train"] = []
    return found
