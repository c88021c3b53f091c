"""Every row in every category: the panels of the rows' pages, and the data that compare rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from adbench_harness.errors import UserError, said
from adbench_harness.report.folder import Folder, named
from adbench_harness.report.gallery import standings
from adbench_harness.report.panel import Panel, Pictures, Tested, defect
from adbench_harness.report.section import Row
from adbench_harness.results.store import Store, TrialResult
from adbench_harness.running.images import TrialImages

if TYPE_CHECKING:
    from adbench_harness.planning.locations import Locations
    from adbench_harness.planning.plugins import Catalogue

_SHARED = 2
"""A category has this many times the images of a gallery whose maps every row shows."""


@dataclass(frozen=True)
class Comparable:
    """A category in which rows can be compared: a file of data, and the rows' pages by label."""

    dataset: str
    category: str
    file: str
    rows: Mapping[str, str]


class Categories:
    """Makes the panels of all rows; a category's images are loaded once, then dropped."""

    def __init__(
        self,
        store: Store,
        folder: Folder,
        catalogue: Catalogue,
        locations: Locations,
        count: int,
    ) -> None:
        self.panels: dict[str, list[Panel]] = {}
        self.missing: dict[str, None] = {}
        self.comparable: list[Comparable] = []
        self._store = store
        self._folder = folder
        self._catalogue = catalogue
        self._locations = locations
        self._count = count

    def write(
        self,
        rows: Sequence[Row],
        results: Sequence[TrialResult],
        progress: Callable[[int, int], None],
    ) -> None:
        """Write the files of ``rows``; ``progress`` gets the panels that are done and their sum."""
        todo = sorted(_trials(rows, results), key=lambda item: item[0])
        self.panels = {row.page: [] for row in rows}
        done = 0
        for key, items in groupby(todo, key=lambda item: item[0]):
            tested = [(row, Tested(self._store, result)) for _, row, result in items]
            pictures = self._pictures(key, tested[0][1].result)
            shared = _shared([each for _, each in tested], _SHARED * self._count)
            for row, each in tested:
                progress(done, len(todo))
                panel = each.panel(self._folder, pictures, self._count, shared)
                self.panels[row.page].append(panel)
                done += 1
            self._compare(key, tested, pictures, shared)
        progress(done, done)

    def _pictures(self, key: tuple[str, ...], result: TrialResult) -> Pictures | None:
        """Those of a trial's category, or None, and then why is among ``missing``."""
        try:
            images = TrialImages(result.trial, self._catalogue, self._locations)
        except Exception as error:  # a plugin's data set may raise any exception
            # Local paths are only for the command line: a site is for other people.
            why = error if isinstance(error, UserError) else said(error)
            self.missing[f"{key[0]}/{key[1]}: {why}"] = None
            return None
        return Pictures(self._folder, images, "\0".join(key))

    def _compare(
        self,
        key: tuple[str, ...],
        tested: Sequence[tuple[Row, Tested]],
        pictures: Pictures | None,
        shared: Sequence[str],
    ) -> None:
        known = [(row, each) for row, each in tested if each.paths]
        if len(known) < 2:
            return
        first = known[0][1]
        file = f"data/{named(key[1], *key)}.js"
        seen = {*shared, *(first.paths[i] for i in first.heats)}
        content = {
            "file": file,
            "images": [
                {
                    "path": path,
                    "defect": defect(first.images, i),
                    "label": int(first.images["label"][i]),
                    "image": pictures.file(path) if pictures and path in seen else None,
                }
                for i, path in enumerate(first.paths)
            ],
            "rows": {row.page: _row(each, first.paths) for row, each in known},
        }
        self._folder.data(file, content)
        labels = {row.page: row.label for row, _ in known}
        self.comparable.append(Comparable(key[0], key[1], file, labels))


def _trials(
    rows: Sequence[Row], results: Sequence[TrialResult]
) -> Iterator[tuple[tuple[str, ...], Row, TrialResult]]:
    """The first finished trial of each row in each category, by the images that it has."""
    for row in rows:
        ran = row.trials[row.trials["status"].eq("ok")].sort_values(["split_seed", "seed"])
        for index in ran.drop_duplicates("category").index:
            result = results[int(index)]
            trial = result.trial
            split = str(trial.split_seed)
            yield (
                (row.axes["dataset"], trial.category, trial.fingerprint, split),
                row,
                result,
            )


def _shared(tested: Sequence[Tested], count: int) -> list[str]:
    """The ``count`` images about which the rows differ most, and then that most rows get wrong."""
    wrong: dict[str, list[float]] = {}
    for each in tested:
        for judgment in each.judgments:
            wrong.setdefault(each.paths[judgment.index], []).append(judgment.wrong)
    told = {path: max(found) - min(found) + sum(found) for path, found in wrong.items()}
    return sorted(told, key=lambda path: -told[path])[:count]


def _row(each: Tested, paths: Sequence[str]) -> dict[str, Any]:
    """What a row says of each image, in the order of ``paths``; None of one that it lacks."""
    places = {path: i for i, path in enumerate(each.paths)}
    standing = standings(each.images)
    judged = {judgment.index: judgment for judgment in each.judgments}
    found: list[dict[str, Any] | None] = []
    for path in paths:
        i = places.get(path)
        if i is None:
            found.append(None)
            continue
        found.append(
            {
                "words": judged[i].words,
                "wrong": round(judged[i].wrong, 4),
                "mistaken": judged[i].mistaken,
                "score": each.score(i),
                "standing": None if standing is None else round(float(standing[i]), 4),
                "heat": each.heats.get(i),
            }
        )
    return {"trial": each.result.trial.id, "images": found}
