"""The images of a plan: where data sets are, and their samples, listed and fingerprinted once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adbench_harness.errors import ContractError, UserError, nearest
from adbench_harness.images import folders
from adbench_harness.planning.components import BrokenError, Components, guarded
from adbench_harness.planning.grammar import Wanted
from adbench_harness.planning.locations import Locations
from adbench_harness.planning.samples import Setting, everything, indices, listed, noted
from adbench_harness.planning.suite import Suite
from adbench_harness.results.store import Failure
from adbench_harness.results.trial import NONE, Choice, Trial
from adbench_harness.types import Sample


@dataclass(frozen=True)
class Subset:
    """Categories of a data set that one model is fitted for; ``failure`` says why they cannot run.

    A data set that cannot list its categories has one subset, named as requested or ``none``.
    """

    dataset: Choice
    root: Path
    categories: tuple[str, ...]
    failure: Failure | None = None


@dataclass(frozen=True)
class SubsetImages:
    """The samples that a fit may see, their categories, and the fingerprint of each category.

    ``whole`` is the fingerprint of all samples if one model learns several categories.
    ``unsplit`` has the fingerprint that each category has in the split with the seed 0, unless this
    is that split: it tells whether two splits are of the same images. ``notes`` are what a reader
    should know of each category's files.
    """

    samples: tuple[Sample, ...] = ()
    categories: tuple[str, ...] = ()
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    whole: str = ""
    unsplit: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    failure: Failure | None = None


class Data:
    """The images of a suite's data sets; ``known`` has the names of all their categories."""

    def __init__(self, suite: Suite, components: Components, locations: Locations) -> None:
        self.known: dict[str, None] = {}
        self._suite = suite
        self._components = components
        self._locations = locations
        self._images: dict[tuple[Subset, int], SubsetImages] = {}
        self._unsplit: dict[Subset, dict[str, str]] = {}
        self._auxiliary: dict[str, tuple[Path, str]] = {}

    def subsets(self, datasets: Sequence[tuple[Choice, str]]) -> list[Subset]:
        """The categories to test on: each alone or, if ``unified``, all of a data set together."""
        subsets = [subset for choice, only in datasets for subset in self._subsets(choice, only)]
        if not self._suite.unified:
            return subsets
        if self._suite.overrides:
            raise UserError("unified: one model for all categories cannot have overrides for one")
        together: dict[Choice, Subset] = {}
        for subset in subsets:
            before = together.get(subset.dataset)
            categories = (*before.categories, *subset.categories) if before else subset.categories
            together[subset.dataset] = Subset(
                subset.dataset, subset.root, categories, subset.failure
            )
        return list(together.values())

    def _subsets(self, choice: Choice, only: str) -> list[Subset]:
        try:
            with guarded():
                dataset = self._components.get("dataset", choice)
                root = self._locate(dataset)
                categories = list(dataset.categories(root))
                if wrong := [name for name in categories if not isinstance(name, str)]:
                    raise ContractError(
                        f"data set '{choice.name}': a category must be a string, not {wrong[0]!r}"
                    )
        except BrokenError as error:
            return [Subset(choice, Path(), (only or NONE,), error.failure)]
        self.known.update(dict.fromkeys(categories))
        if only and only not in categories:
            raise UserError(
                f"data set '{choice.name}' has no category '{only}'{nearest(only, categories)};"
                f" it has {', '.join(categories)}"
            )
        return [Subset(choice, root, (name,)) for name in ([only] if only else categories)]

    def images(self, subset: Subset, split_seed: int) -> SubsetImages:
        """The samples of a subset; raises UserError if there are too few for a setting."""
        if (subset, split_seed) not in self._images:
            try:
                if subset.failure is not None:
                    raise BrokenError(subset.failure)
                with guarded():
                    images = self._listed(subset, split_seed)
            except BrokenError as error:
                images = SubsetImages(
                    fingerprints=dict.fromkeys(subset.categories, ""), failure=error.failure
                )
            self._images[subset, split_seed] = images
        return self._images[subset, split_seed]

    def _listed(self, subset: Subset, split_seed: int) -> SubsetImages:
        dataset = self._components.get("dataset", subset.dataset)
        names = dataset.categories(subset.root) if self._suite.unified else subset.categories
        # What a setting holds out does not depend on its shots.
        whole = Setting(self._suite.protocol, split_seed, validation=self._suite.validation)
        found = {name: noted(dataset, subset.root, name, whole) for name in names}
        by_name = {name: one.samples for name, one in found.items()}
        for setting in settings(self._suite, split_seed):
            for name in subset.categories:
                indices(by_name[name], subset.root, name, setting)
        samples = tuple(sample for some in by_name.values() for sample in some)
        fingerprints = {
            name: folders.fingerprint(subset.root, by_name[name]) for name in subset.categories
        }
        if not split_seed:
            self._unsplit[subset] = fingerprints
        elif subset not in self._unsplit:
            self._unsplit[subset] = {
                name: folders.fingerprint(
                    subset.root, listed(dataset, subset.root, name, self._suite.protocol, 0)
                )
                for name in subset.categories
            }
        return SubsetImages(
            samples,
            tuple(name for name, some in by_name.items() for _ in some),
            fingerprints,
            folders.fingerprint(subset.root, samples) if self._suite.unified else "",
            self._unsplit[subset] if split_seed else {},
            {name: one.notes for name, one in found.items()},
        )

    @property
    def notes(self) -> Iterator[str]:
        """What a reader should know of the images listed so far, each with its category."""
        for (subset, _), images in self._images.items():
            for category, notes in images.notes.items():
                for note in notes:
                    yield f"{subset.dataset.label}/{category}: {note}"

    def auxiliary(self, name: str) -> str:
        """The fingerprint of an auxiliary data set."""
        if name not in self._auxiliary:
            choice = self._components.resolve("dataset", Wanted(name))
            dataset = self._components.get("dataset", choice)
            try:
                with guarded():
                    root = self._locate(dataset)
                    fingerprint = folders.fingerprint(root, everything(dataset, root))
                    self._auxiliary[name] = root, fingerprint
            except BrokenError as error:
                self._components.fail("dataset", choice, error.failure)  # it is not listed again
                raise
        return self._auxiliary[name][1]

    def auxiliary_roots(self, trials: Sequence[Trial]) -> tuple[tuple[str, str], ...]:
        """The folders of the auxiliary data sets of ``trials``, by name."""
        names = {name for trial in trials for name, _ in trial.auxiliary} & self._auxiliary.keys()
        return tuple((name, str(self._auxiliary[name][0])) for name in sorted(names))

    def _locate(self, dataset: Any) -> Path:
        try:
            return folders.locate(dataset, self._locations.data, self._locations.datasets)
        except UserError:
            if self._locations.fetch is None or not dataset.archives:
                raise
            return self._locations.fetch.datasets([dataset], self._locations.data_folder)[0]


def settings(suite: Suite, split_seed: int) -> list[Setting]:
    """The settings with which a suite uses a category's samples."""
    if suite.shots is None:
        return [Setting(suite.protocol, split_seed, validation=suite.validation)]
    return [
        Setting(suite.protocol, split_seed, shots, seed, suite.validation)
        for shots in suite.shots
        for seed in suite.shot_seeds
    ]
