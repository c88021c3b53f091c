"""Plots of results: metrics against a parameter or another metric, and training curves."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from adbench_harness.errors import UserError, clean, no_room
from adbench_harness.leaderboard import pareto
from adbench_harness.leaderboard.columns import Column, column, headings, primary
from adbench_harness.leaderboard.frame import (
    Summary,
    check_axes,
    check_one_dataset,
    measured,
    select,
)
from adbench_harness.leaderboard.labels import relabelled
from adbench_harness.leaderboard.pivot import PIVOTS, grid, natural
from adbench_harness.results.trial import NONE

if TYPE_CHECKING:
    from adbench_harness.results.store import Store, TrialResult

_PANEL = (4.6, 3.8)  # inches
_COLORS = 10  # of matplotlib's cycle
_CHARACTERS = 60  # that fit beside each other below a panel
_STYLE: Any = {
    "svg.hashsalt": "adbench",  # the same numbers give the same file
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "font.size": 9,
    "legend.frameon": False,
}


def sweep(
    store: Store,
    output: Path,
    *,
    x: str,
    by: Sequence[str],
    metrics: Sequence[str] = (),
    only: Mapping[str, str] | None = None,
) -> str:
    """Plot ``metrics`` against the parameter ``x``, one line per value of ``by``; returns a title.

    Bands are the standard deviation over seeds. Results without ``x`` are a dashed line. If ``x``
    is a metric, each value of ``by`` is a point, and a line connects the points that no other beats
    in both metrics.
    """
    results = list(store.read())
    known = headings(results)
    if x in known:
        return _tradeoff(results, output, x=x, by=by, metrics=metrics, only=only or {})
    check_axes(results, {"--x": [x]}, sorted(known))
    check_axes(results, {"--by": by})
    axes = [axis for axis in (x, *by) if axis not in PIVOTS]
    trials = select(results, axes, only or {})
    wanted = list(metrics) or measured(trials)[:1]
    measured(trials, wanted)
    summary = grid(trials, [*by, x])
    with mpl.rc_context(_STYLE):
        names = _names(summary.mean.droplevel(x).index.unique())
        figure, panels, ncols = _panels(len(wanted), names)
        for panel, metric in zip(panels, wanted, strict=True):
            shown = column(metric, known)
            scale = 100 if shown.unit == "%" else 1
            lines = pd.DataFrame(
                {"mean": summary.mean[metric], "spread": summary.spread[metric].fillna(0)}
            ).mul(scale)
            positions = sorted({str(label[-1]) for label in lines.index} - {NONE}, key=natural)
            at = {
                position: float(position) if _numbers(positions) else i
                for i, position in enumerate(positions)
            }
            for number, (label, line) in enumerate(lines.groupby(level=list(by), sort=False)):
                name = " · ".join(map(str, label))
                style: dict[str, Any] = {"color": f"C{number}", "label": name}
                line = line.droplevel(list(by))
                if NONE in line.index:
                    panel.axhline(line.loc[NONE, "mean"], ls="--", lw=1, **style)
                    continue
                line = line.loc[sorted(line.index, key=natural)]
                xs = [at[position] for position in line.index]
                panel.plot(xs, line["mean"], "o-", ms=3, lw=1.3, **style)
                low, high = line["mean"] - line["spread"], line["mean"] + line["spread"]
                panel.fill_between(xs, low, high, color=f"C{number}", alpha=0.12, lw=0)
            if not _numbers(positions):
                panel.set_xticks(range(len(positions)), list(map(_plain, positions)))
            panel.set(xlabel=_plain(x), ylabel=shown.title + (" (%)" if scale == 100 else ""))
        handles, labels = panels[0].get_legend_handles_labels()
        _legend(figure, dict(zip(labels, handles, strict=True)), ncols)
        missing = _save(figure, output)
    return f"{', '.join(column(metric, known).title for metric in wanted)} by {x}{missing}"


def _tradeoff(
    results: Sequence[TrialResult],
    output: Path,
    *,
    x: str,
    by: Sequence[str],
    metrics: Sequence[str],
    only: Mapping[str, str],
) -> str:
    """Plot ``metrics`` against the metric ``x``, with the Pareto front; returns a title.

    Rows that used the test images or lack a category are not comparable; the title names them. If
    there are more rows than colors, only those on the front have names.
    """
    check_axes(results, {"--by": by})
    known = headings(results)
    trials = select(results, [axis for axis in by if axis not in PIVOTS], only)
    check_one_dataset(trials, " in one plot")
    but = [axis for axis in (*by, *only) if axis not in PIVOTS]
    trials, _ = relabelled(trials, results, but=but)
    wanted = list(metrics) or [primary(measured(trials))]
    measured(trials, [x, *wanted])
    summary = grid(trials, by)
    names = _names(summary.mean.index)
    costs = column(x, known)
    points: list[pd.DataFrame] = []
    for metric in wanted:
        there = summary.whole[metric] & summary.whole[x] & summary.fair
        if not there.any():
            raise UserError(f"no row has both {x} and {metric} in every category")
        shown = column(metric, known)
        xs, ys = _scaled(summary, x, costs, there), _scaled(summary, metric, shown, there)
        best = pareto.front(
            ys if shown.higher_is_better else -ys, -xs if costs.higher_is_better else xs
        )
        labels = [name for name, ok in zip(names, there, strict=True) if ok]
        points.append(pd.DataFrame({"x": xs, "y": ys, "best": best}, labels))
    every = dict.fromkeys(name for part in points for name in part.index)
    named = list(every)
    if len(named) > _COLORS:
        best_ones = {name for part in points for name in part.index[part["best"]]}
        named = [name for name in every if name in best_ones]
    with mpl.rc_context(_STYLE):
        figure, panels, ncols = _panels(len(wanted), named)
        drawn: dict[str, Any] = {}
        for panel, metric, part in zip(panels, wanted, points, strict=True):
            front = part[part["best"]].sort_values("x")
            panel.plot(front["x"], front["y"], "-", color="0.6", lw=1, zorder=1)
            for name, at, value, first in part.itertuples():
                color = f"C{named.index(name)}" if name in named else "0.6"
                face = color if first else "none"
                drawn[name if name in named else "others"] = panel.scatter(
                    [at], [value], s=28, color=color, facecolors=face, zorder=2
                )
            if part["x"].min() > 0 and part["x"].max() > 20 * part["x"].min():
                panel.set_xscale("log")
            shown = column(metric, known)
            panel.set(xlabel=_axis_label(costs), ylabel=_axis_label(shown))
        if "others" in drawn:
            drawn["others"] = drawn.pop("others")  # the last one of the legend
        _legend(figure, drawn, ncols)
        missing = _save(figure, output)
    title = f"{', '.join(column(metric, known).title for metric in wanted)} against {costs.title}"
    title += "; filled points are on the Pareto front"
    left_out = [name for name in names if name not in every]
    title += f"; not comparable: {', '.join(left_out)}" if left_out else ""
    return title + missing


def _scaled(
    summary: Summary, metric: str, shown: Column, there: pd.Series[bool]
) -> NDArray[np.float64]:
    values: NDArray[np.float64] = summary.mean.loc[there, metric].to_numpy(float)
    return values * 100 if shown.unit == "%" else values


def _axis_label(shown: Column) -> str:
    unit = {"%": "%", "s": "s", "ms": "ms", "MB": "MB"}.get(shown.unit, "")
    has_unit = not unit or unit in shown.title.replace("/", " ").split()
    return shown.title if has_unit else f"{shown.title} ({unit})"


def curves(
    store: Store,
    output: Path,
    *,
    by: Sequence[str],
    names: Sequence[str] = (),
    only: Mapping[str, str] | None = None,
) -> str:
    """Plot the curves ``names`` (none given: all) that trainings logged; returns a title.

    Each name has a panel, and each value of ``by`` has a line, averaged over its trials. The x axis
    is the fraction of the training.
    """
    results = list(store.read())
    check_axes(results, {"--by": by})
    trials = select(results, [axis for axis in by if axis not in PIVOTS], only or {})
    found: dict[str, dict[str, list[NDArray[Any]]]] = {}
    for index, row in trials.iterrows():
        label = " · ".join(str(row[axis]) for axis in by)
        for name, values in store.curves(results[int(str(index))].trial).items():
            if not names or name in names:
                found.setdefault(name, {}).setdefault(label, []).append(values)
    if not found:
        wanted = f"the curve {', '.join(names)}" if names else "curves"
        raise UserError(f"no result in '{store.root}' has {wanted}")
    with mpl.rc_context(_STYLE):
        labels = list(dict.fromkeys(label for lines in found.values() for label in lines))
        figure, panels, ncols = _panels(len(found), labels)
        drawn: dict[str, Any] = {}
        for panel, (name, lines) in zip(panels, found.items(), strict=True):
            for label, runs in lines.items():
                length = min(map(len, runs))
                mean = np.mean([run[:length] for run in runs], axis=0)
                done = np.arange(1, length + 1) / length * 100
                [drawn[label]] = panel.plot(done, mean, lw=1.2, color=f"C{labels.index(label)}")
            panel.set(xlabel="training done (%)", ylabel=_plain(name), yscale="log")
        _legend(figure, drawn, ncols)
        missing = _save(figure, output)
    return f"{', '.join(found)} during training{missing}"


def _names(index: pd.Index[Any]) -> list[str]:
    """One text for each label, which may have several levels."""
    labels = (label if isinstance(label, tuple) else (label,) for label in index)
    return [" · ".join(map(str, label)) for label in labels]


def _panels(count: int, names: Sequence[str]) -> tuple[Figure, Any, int]:
    """A figure with its panels, room for ``names`` below them, and how many columns they have."""
    ncols = min(max(_CHARACTERS * count // (max(map(len, names)) + 5), 1), 3)
    size = _PANEL[0] * count, _PANEL[1] + 0.19 * -(-len(names) // ncols)
    figure = Figure(size, layout="constrained")
    return figure, np.atleast_1d(figure.subplots(1, count)), ncols


def _legend(figure: Figure, drawn: Mapping[str, Any], ncols: int) -> None:
    """Name what was drawn below the panels."""
    labels = list(map(_plain, drawn))
    figure.legend(drawn.values(), labels, loc="outside lower center", ncols=ncols)


def _numbers(positions: Sequence[str]) -> bool:
    return all(natural(position)[0] == 0 for position in positions)


def _plain(text: str) -> str:
    """Text that matplotlib draws as it is, and not as a formula."""
    return clean(text).replace("$", r"\$")


def _save(figure: Figure, output: Path) -> str:
    """Write the file; returns a remark if no font has some of the characters, or else nothing."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            figure.savefig(output, metadata={"Date": None} if output.suffix == ".svg" else None)
        except (OSError, ValueError) as error:
            if no_room(error):
                output.unlink(missing_ok=True)
                raise
            raise UserError(f"'{output}' cannot be drawn: {error}") from None
    glyphs = (re.match(r"Glyph (\d+) ", str(one.message)) for one in caught)
    missing = "".join(dict.fromkeys(chr(int(glyph[1])) for glyph in glyphs if glyph))
    return f"; the font of the plot has no {missing}" if missing else ""
