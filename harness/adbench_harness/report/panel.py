"""The part of a row's page for one category: plots, and the test images, worst mistakes first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from adbench_harness.report.charts import Chart, charts
from adbench_harness.report.folder import Folder
from adbench_harness.report.gallery import UNLABELLED, Arrays, Judgment, judgments
from adbench_harness.report.thumbnails import Scale, Thumbnails, encoded
from adbench_harness.results.maps import Maps
from adbench_harness.results.store import Store, TrialResult
from adbench_harness.running.images import TrialImages

NO_MAPS = (
    "No anomaly maps were stored, so there are no overlays and no PRO curve. A run with "
    "--keep-maps into a new folder stores them."
)
NO_IMAGES = (
    "The images that these results were measured on were not found when this site was made, so "
    "there are no pictures and no PRO curve. Use adbench report --data NAME=DIR to say where they "
    "are."
)


@dataclass(frozen=True)
class Item:
    """A test image of the gallery; a thumbnail is None if the image or map is missing.

    ``mistaken`` is None if nobody can say; then the image has no verdict. ``outlined``: its
    thumbnails show the outline of a defect.
    """

    path: str
    defect: str
    score: str
    words: str
    mistaken: bool | None
    image: str | None
    heat: str | None
    outlined: bool

    @property
    def kind(self) -> str:
        """The defect type as a caption shows it: nothing for an image without a label."""
        return "" if self.defect == UNLABELLED else self.defect


@dataclass
class Panel:
    """One category of one row: its trial, plots, gallery, and notes on what is missing."""

    category: str
    result: TrialResult
    charts: list[Chart] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    total: int = 0
    colours: str = ""

    @property
    def judged(self) -> bool:
        """Whether any shown image has a verdict."""
        return any(item.mistaken is not None for item in self.items)


class Tested:
    """A finished trial with what it stored of each test image."""

    def __init__(self, store: Store, result: TrialResult) -> None:
        self.result = result
        self.images: Arrays = store.images(result.trial)
        self.judgments: Sequence[Judgment] = judgments(self.images) if self.images else []
        self.paths: list[str] = self.images["path"].tolist() if self.images else []
        self.heats: Mapping[int, str] = {}
        self._store = store

    def panel(
        self, folder: Folder, pictures: Pictures | None, count: int, shared: Iterable[str]
    ) -> Panel:
        """Its panel, with a gallery of ``count`` images; also draws the maps of ``shared`` ones.

        ``pictures`` are those of the category's images, None if they are missing.
        """
        trial = self.result.trial
        panel = Panel(trial.category, self.result)
        if not self.images:
            panel.notes.append("This trial stored no per-image scores.")
            return panel
        maps = self._store.maps(trial)
        here = pictures.images if pictures else None
        if here is None:
            panel.notes.append(NO_IMAGES)
        if maps is None and ("score" in self.images or "probability" not in self.images):
            panel.notes.append(NO_MAPS)
        curves = self._store.curves(trial)
        panel.charts = list(charts(self.result, self.images, maps, here, curves))
        if not panel.charts:
            panel.notes.append("No image or pixel scores were stored, so there are no curves.")
        panel.total = len(self.paths)
        chosen = [judgment.index for judgment in self.judgments[:count]]
        if pictures and maps is not None:
            wanted = set(shared)
            drawn = {*chosen, *(i for i, path in enumerate(self.paths) if path in wanted)}
            scale = Scale.of(maps)
            panel.colours = scale.words(maps)
            self.heats = {i: self._heat(folder, pictures, maps, scale, i) for i in sorted(drawn)}
        panel.items = [self._item(judgment, pictures) for judgment in self.judgments[:count]]
        return panel

    def score(self, index: int) -> str:
        """The score of an image as text, empty without one."""
        return f"{self.images['score'][index]:.4g}" if "score" in self.images else ""

    def _item(self, judgment: Judgment, pictures: Pictures | None) -> Item:
        index = judgment.index
        path = self.paths[index]
        return Item(
            path=path,
            defect=defect(self.images, index),
            score=self.score(index),
            words=judgment.words,
            mistaken=judgment.mistaken,
            image=pictures.file(path) if pictures else None,
            heat=self.heats.get(index),
            outlined=pictures is not None and pictures.thumbnails.outlined(path),
        )

    def _heat(
        self, folder: Folder, pictures: Pictures, maps: Maps, scale: Scale, index: int
    ) -> str:
        name = f"images/{self.result.trial.id}-{index}.webp"
        heat = pictures.thumbnails.heat(self.paths[index], maps, scale, index)
        folder.file(name, encoded(heat))
        return name


class Pictures:
    """The thumbnails of a category's images, each written once for all rows."""

    def __init__(self, folder: Folder, images: TrialImages, name: str) -> None:
        self.images = images
        self.thumbnails = Thumbnails(images)
        self._folder = folder
        self._name = name
        self._written: dict[str, str] = {}

    def file(self, path: str) -> str:
        """The file of an image's thumbnail."""
        if path not in self._written:
            digest = sha256(f"{self._name}\0{path}".encode()).hexdigest()[:16]
            name = f"images/{digest}.webp"
            self._folder.file(name, encoded(self.thumbnails.image(path)))
            self._written[path] = name
        return self._written[path]


def defect(images: Arrays, index: int) -> str:
    """An image's defect type; an image without a label has none."""
    unlabelled = images["label"][index] < 0
    return UNLABELLED if unlabelled else str(images["defect"][index])
