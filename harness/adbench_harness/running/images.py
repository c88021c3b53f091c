"""The images that a stored trial was measured on, as its data set has them now."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from adbench_harness.errors import UserError
from adbench_harness.images import decoding, folders, masks
from adbench_harness.images.geometry import Image
from adbench_harness.images.masks import Mask
from adbench_harness.images.truth import Truth
from adbench_harness.planning import parameters
from adbench_harness.planning.locations import Locations
from adbench_harness.planning.plugins import Catalogue
from adbench_harness.planning.samples import listed
from adbench_harness.results.trial import Trial


class TrialImages:
    """The images and masks of a trial's category, by the paths in the results.

    Images and masks are read when they are requested; masks are kept. Raises UserError if the files
    are not found, or are not those that the trial was measured on.
    """

    def __init__(self, trial: Trial, catalogue: Catalogue, locations: Locations) -> None:
        dataset = parameters.build(catalogue, "dataset", trial.dataset)
        root = folders.locate(dataset, locations.data, locations.datasets)
        samples = listed(dataset, root, trial.category, trial.protocol, trial.split_seed)
        if folders.fingerprint(root, samples) != trial.fingerprint:
            raise UserError(
                f"'{root}': the images of '{trial.dataset.label}/{trial.category}' are not those "
                "that the results were measured on; name their folder with "
                f"--data {dataset.name}=DIR"
            )
        self._threshold = dataset.mask_threshold
        self._samples = {folders.relative(root, sample.image): sample for sample in samples}
        self._masks: dict[str, Mask | None] = {}

    def image(self, path: str) -> Image:
        """An image, uint8 RGB [H, W, 3]."""
        sample = self._samples[path]
        return decoding.decode(sample.image, sample.depth)

    def mask(self, path: str) -> Mask | None:
        """An image's truth by pixel, at its own size; None if it is unknown."""
        if path not in self._masks:
            height, width = self.image(path).shape[:2]
            self._masks[path] = masks.union(self._samples[path], self._threshold, (height, width))
        return self._masks[path]

    def truth(self, paths: Sequence[str]) -> Truth:
        """The ground truth by pixel of many images; their masks are read in parallel."""
        with ThreadPoolExecutor(folders.workers()) as pool:
            found = list(pool.map(self.mask, paths))
        return Truth([self._samples[path] for path in paths], found, self._threshold)
