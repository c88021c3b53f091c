"""Writes stored results as pages that open from disk: a board, and a page for each row."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from adbench_harness import __version__
from adbench_harness.errors import UserError, said
from adbench_harness.leaderboard.board import board
from adbench_harness.leaderboard.columns import AXES, Column, column, headings, primary
from adbench_harness.leaderboard.frame import measured, method, select, summarise
from adbench_harness.leaderboard.pivot import listing, pivot
from adbench_harness.leaderboard.printed import MEAN, beside
from adbench_harness.leaderboard.table import Table
from adbench_harness.report import comparison, figure
from adbench_harness.report.panel import Panel, Panels, Picture
from adbench_harness.results.store import Store, TrialResult
from adbench_harness.results.trial import show
from adbench_harness.running.images import TrialImages

if TYPE_CHECKING:
    from adbench_harness.planning.locations import Locations
    from adbench_harness.planning.plugins import Catalogue

_OURS = ("index.html", "rows", "plots", "images", "static")
_MARK = '<meta name="generator" content="adbench '
_WORST = 1e300
"""Sorts missing values last, in both directions."""


@dataclass(frozen=True)
class Cell:
    """A number as a table shows it, whether it is the best, and its sort key."""

    text: str
    best: bool = False
    order: float | None = None


@dataclass(frozen=True)
class Head:
    """A column's header, and whether a higher number is better (None: not a number)."""

    text: str
    higher: bool | None = None


@dataclass(frozen=True)
class Row:
    """A combination on the board; ``page`` is where its trials are, relative to the root."""

    label: str
    rank: str
    page: str
    axes: Mapping[str, str]
    cells: Sequence[Cell]
    flags: Sequence[str]
    trials: pd.DataFrame


@dataclass(frozen=True)
class Cost:
    """A row in the comparison of accuracy and cost."""

    number: int
    row: Row
    value: str
    costs: Sequence[Cell]


@dataclass(frozen=True)
class Section:
    """A data set's part of the board; ``flags`` are those that all its rows have."""

    dataset: str
    caption: str
    notes: Sequence[str]
    flags: Sequence[str]
    heads: Sequence[Head]
    rows: Sequence[Row]
    filters: Mapping[str, Sequence[str]]
    metric: str
    cost_heads: Sequence[str]
    costs: Sequence[Cost]
    plots: Sequence[Picture]
    printed: Sequence[tuple[str, Table]]


@dataclass(frozen=True)
class Written:
    """The result of ``write``: the number of rows, and the reasons for missing images."""

    rows: int
    missing: tuple[str, ...]


def write(
    store: Store,
    output: Path,
    *,
    catalogue: Catalogue,
    locations: Locations,
    metric: str | None = None,
    images: int = 12,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Written:
    """Write the site of a store's results into ``output``.

    ``catalogue`` has the data sets and the papers' numbers, ``locations`` the folders of images; if
    images are missing, the pages say so. ``metric`` ranks the rows; ``images`` is the maximum in a
    gallery. Raises UserError if there are no results, or ``output`` contains something else.
    """
    results = list(store.read())
    trials = select(results, (), {})
    measured(trials, [metric] if metric else ())
    _clear(output)
    site = _Site(store, output, results, catalogue, locations, images)
    return site.write(trials, metric, progress)


class _Site:
    def __init__(
        self,
        store: Store,
        output: Path,
        results: Sequence[TrialResult],
        catalogue: Catalogue,
        locations: Locations,
        images: int,
    ) -> None:
        self.store = store
        self.output = output
        self.results = results
        self.catalogue = catalogue
        self.locations = locations
        self.reported = catalogue.reported()
        self.headings = headings(results)
        self.panels = Panels(store, output, images)
        self.templates = Environment(
            loader=PackageLoader("adbench_harness.report"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.templates.globals |= {"version": __version__, "show": show}

    def write(
        self, trials: pd.DataFrame, metric: str | None, progress: Callable[[int, int], None]
    ) -> Written:
        sections = [
            self.section(str(name), part, metric)
            for name, part in trials.groupby("dataset", sort=True)
        ]
        for file in files("adbench_harness.report").joinpath("static").iterdir():
            self.file(f"static/{file.name}", file.read_text(encoding="utf-8"))
        lead = metric or primary(measured(trials))
        ranks = comparison.ranked(trials, lead, higher_is_better=self.column(lead).higher_is_better)
        self.page(
            "index.html",
            "index.html",
            sections=sections,
            ranks=ranks,
            ranking=self.ranking(ranks),
            metric=self.column(lead).title,
        )
        rows = [(section, row) for section in sections for row in section.rows]
        panels, missing = self.all_panels([row for _, row in rows], progress)
        for section, row in rows:
            self.row(section, row, panels[row.page])
        return Written(len(rows), tuple(missing))

    def column(self, metric: str) -> Column:
        return column(metric, self.headings)

    # ------------------------------------------------------------ the board

    def section(self, dataset: str, trials: pd.DataFrame, metric: str | None) -> Section:
        trials = trials.assign(method=method(trials))
        names = measured(trials)
        table = board(
            trials,
            metric if metric in names else None,
            self.headings,
            per_category=False,
            images=lambda index: self.store.images(self.results[index].trial),
        )
        summary = summarise(trials, AXES)
        shown = {self.column(name).header: name for name in names}
        groups = trials.groupby(list(AXES))
        shared = set.intersection(*map(set, trials["flags"]))
        rows, keys = [], []
        for index, texts in enumerate(table.rows):
            told = dict(zip(table.headers, texts, strict=True))
            key = tuple(told.get(axis, str(trials[axis].iloc[0])) for axis in AXES)
            own = groups.get_group(key)
            cells = [
                self.cell(told[head], (index, j) in table.best, shown.get(head), summary.mean, key)
                for j, head in enumerate(table.headers)
                if head not in ("#", *AXES)
            ]
            label = own["method"].iloc[0]
            flags = sorted({flag for row in own["flags"] for flag in row} - shared)
            axes = dict(zip(AXES, key, strict=True))
            rows.append(
                Row(label, told["#"], f"rows/{_named(label, *key)}.html", axes, cells, flags, own)
            )
            keys.append(key)
        lead = metric if metric in names else primary(names)
        costs, plots = self.costs(dataset, rows, keys, summary, lead)
        return Section(
            dataset=dataset,
            caption=table.caption,
            notes=table.notes,
            flags=sorted(shared),
            heads=[
                Head(head, self.column(shown[head]).higher_is_better)
                if head in shown
                else Head(head)
                for head in table.headers
                if head not in ("#", *AXES)
            ],
            rows=rows,
            filters={
                axis: sorted(trials[axis].unique())
                for axis in AXES
                if axis != "dataset" and trials[axis].nunique() > 1
            },
            metric=self.column(lead).title,
            cost_heads=[self.column(name).title for name in comparison.COSTS if name in names],
            costs=costs,
            plots=plots,
            printed=list(self.printed(trials)),
        )

    def cell(
        self, text: str, best: bool, name: str | None, means: pd.DataFrame, key: tuple[str, ...]
    ) -> Cell:
        if name is None:
            return Cell(text, best)
        value = float(means.loc[key, name])  # type: ignore[arg-type]  # a number, by its column
        worst = -_WORST if self.column(name).higher_is_better else _WORST
        return Cell(text, best, worst if np.isnan(value) else value)

    def costs(
        self,
        dataset: str,
        rows: Sequence[Row],
        keys: Sequence[tuple[str, ...]],
        summary: Any,
        metric: str,
    ) -> tuple[list[Cost], list[Picture]]:
        """The rows that may be compared, with their costs, and a plot per cost."""
        names = [name for name in comparison.COSTS if summary.mean[name].notna().any()]
        shown = self.column(metric)
        eligible = [
            index
            for index, key in enumerate(keys)
            if summary.whole.loc[key, metric]
            and summary.fair.loc[key]
            and summary.mean.loc[key, names].gt(0).all()
        ]
        if not eligible or not names:
            return [], []
        means = summary.mean.loc[[keys[index] for index in eligible]]
        values = means[metric].to_numpy(float)
        fronts = {
            name: comparison.front(
                values if shown.higher_is_better else -values, means[name].to_numpy(float)
            )
            for name in names
        }
        costs = [
            Cost(
                number + 1,
                rows[index],
                shown.show(values[number]),
                [
                    Cell(
                        self.column(name).show(means[name].iloc[number]),
                        bool(fronts[name][number]),
                        float(means[name].iloc[number]),
                    )
                    for name in names
                ],
            )
            for number, index in enumerate(eligible)
        ]
        plots = []
        for name, front in fronts.items():
            cost = self.column(name)
            file = f"plots/{_named(dataset, name)}.svg"
            svg = figure.scatter(means[name].to_numpy(float), values, front, shown, cost)
            self.file(file, svg)
            best = ", ".join(str(i + 1) for i in np.flatnonzero(front))
            words = f"{shown.title} against {cost.title}; on the Pareto front: {best}"
            plots.append(Picture(file, cost.title, words))
        return costs, plots

    def printed(self, trials: pd.DataFrame) -> Iterator[tuple[str, Table]]:
        """By metric: the papers' numbers for this data set, next to the measured ones."""
        own = {self.results[index].trial.dataset.name for index in trials.index}
        categories = set(trials["category"])
        # A mean over more categories than were measured cannot be compared with the measured mean.
        rows = [
            row
            for row in self.reported
            if row.dataset in own
            and (
                row.category in categories
                or (row.category == MEAN and row.categories <= len(categories))
            )
        ]
        if not rows:
            return
        together, notes = beside(trials, rows)
        counted = together.loc[together["reported"]]
        for name in measured(together):
            if counted[name].notna().any() and trials[name].notna().any():
                table = pivot(together, "method", "category", name, self.headings)
                yield (
                    self.column(name).title,
                    replace(table, notes=(*table.notes, *notes)),
                )

    def ranking(self, ranks: comparison.Ranks) -> Picture | None:
        if len(ranks.methods) < 2 or ranks.blocks < ranks.needed:
            return None
        file = "plots/ranks.svg"
        self.file(file, figure.ranking(ranks.methods, ranks.mean, ranks.cliques))
        return Picture(
            file, "Critical-difference diagram", "Mean ranks and groups; the table below has them"
        )

    # ------------------------------------------------------------ a row's page

    def all_panels(
        self, rows: Iterable[Row], progress: Callable[[int, int], None]
    ) -> tuple[dict[str, list[Panel]], list[str]]:
        """The panels of every row's page, and the reasons for missing images.

        A category's images are loaded once, and dropped before those of the next category.
        """
        todo: list[tuple[Any, str, TrialResult]] = []
        for row in rows:
            ran = row.trials[row.trials["status"].eq("ok")].sort_values(["split_seed", "seed"])
            for index in ran.drop_duplicates("category").index:
                trial = self.results[index].trial
                key = (trial.dataset.label, trial.category, trial.fingerprint, trial.split_seed)
                todo.append((key, row.page, self.results[index]))
        panels: dict[str, list[Panel]] = {row.page: [] for row in rows}
        missing: dict[str, None] = {}
        before: Any = None
        images: TrialImages | UserError = UserError("")
        for done, (key, page, result) in enumerate(sorted(todo, key=lambda item: item[0])):
            progress(done, len(todo))
            if key != before:
                before, images = key, self.images(result)
                if isinstance(images, UserError):
                    missing[f"{key[0]}/{key[1]}: {images}"] = None
            # Local paths are only for the command line: a site is for other people.
            here = None if isinstance(images, UserError) else images
            panels[page].append(self.panels.of(result, here))
        progress(len(todo), len(todo))
        return panels, list(missing)

    def images(self, result: TrialResult) -> TrialImages | UserError:
        try:
            return TrialImages(result.trial, self.catalogue, self.locations)
        except UserError as error:
            return error
        except Exception as error:  # a plugin's data set may raise any exception
            return UserError(said(error))

    def row(self, section: Section, row: Row, panels: Sequence[Panel]) -> None:
        results = [self.results[index] for index in row.trials.index]
        trial = results[0].trial
        names = measured(row.trials)
        ran = row.trials["status"].eq("ok").any()
        self.page(
            row.page,
            "row.html",
            section=section,
            row=row,
            panels=panels,
            choices=[
                ("model", trial.model),
                ("scorer", trial.scorer),
                *([("augmenter", trial.augmenter)] if trial.augmenter else []),
                *(("preprocessor", choice) for choice in trial.preprocessors),
                ("data set", trial.dataset),
            ],
            facts=_facts(results),
            numbers=self.numbers(row.trials, names) if ran else None,
            results=results,
            failures=list({f.traceback: (r, f) for r in results for f in r.failures}.values()),
        )

    def numbers(self, trials: pd.DataFrame, names: Sequence[str]) -> Table:
        """One line per category, and their mean."""
        table = listing(trials, ["category"], names, self.headings)
        rows = [list(row) for row in table.rows]
        if len(rows) > 1:
            mean = summarise(trials, AXES)
            cells = [
                self.column(name).cells(
                    mean.mean[name], mean.spread[name], mean.seen[name], mean.total
                )[0]
                for name in names
            ]
            rows.append([f"mean of {len(rows)}", *cells])
        return replace(table, rows=rows, best=frozenset())

    # ------------------------------------------------------------ files

    def page(self, path: str, template: str, **context: Any) -> None:
        root = "../" * path.count("/")
        self.file(path, self.templates.get_template(template).render(root=root, **context))

    def file(self, path: str, text: str) -> None:
        target = self.output / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def _clear(output: Path) -> None:
    """Remove an earlier site; raises UserError if the folder contains anything else."""
    index = output / "index.html"
    try:
        if output.is_dir() and any(output.iterdir()):
            if not (index.is_file() and _MARK in index.read_text(encoding="utf-8")[:2000]):
                raise UserError(
                    f"-o: '{output}' is not empty and not an adbench site; name a new folder"
                )
            for name in _OURS:
                path = output / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"-o: '{output}' cannot be written to ({error.strerror}); name another folder"
        ) from None


def _facts(results: Sequence[TrialResult]) -> dict[str, list[str]]:
    """Provenance by name, with each distinct value once."""
    found: dict[str, dict[str, None]] = {}
    for result in results:
        for name, value in result.provenance.items():
            if name in ("images", "finished", "weights") or value is None:
                continue
            if isinstance(value, Mapping):
                value = ", ".join(f"{key}: {item}" for key, item in value.items())
            found.setdefault(name, {})[str(value)] = None
        for used in result.trial.weights:
            text = f"{used.backbone} v{used.version}, sha256 {used.sha256 or 'none needed'}"
            text += "" if used.verified else " (not verified)"
            found.setdefault("weights", {})[text] = None
        settings = result.trial.evaluation
        text = f"maps at {settings.size or 'native'} size, border {settings.border}"
        found.setdefault("evaluation", {})[text] = None
        found.setdefault("protocol", {})[result.trial.protocol] = None
    return {name: list(values) for name, values in found.items()}


def _named(label: str, *key: str) -> str:
    """A readable file name, made unique by its content."""
    readable = re.sub(r"[^a-z0-9]+", "-", label.lower())[:48].strip("-")
    digest = hashlib.sha256(repr((label, *key)).encode()).hexdigest()[:8]
    return f"{readable}-{digest}".lstrip("-")
