"""Plots as SVG files that follow the browser's light or dark scheme."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from adbench_harness.leaderboard.columns import Column

# Placeholders, which are replaced by variables of the style sheet in the written file.
_INK, _SOFT, _ONE, _TWO, _PAPER = (f"#0{n}0{n}0{n}" for n in range(1, 6))
_COLOURS = {
    _INK: ("#1f2328", "#e6e8eb"),
    _SOFT: ("#8c949e", "#7d8590"),
    _ONE: ("#0b5cad", "#79b8ff"),
    _TWO: ("#b3470b", "#ffa366"),
    _PAPER: ("#ffffff", "#16191d"),
}
_STYLE: Any = {
    "svg.hashsalt": "adbench",  # the same numbers give the same file
    "svg.fonttype": "none",
    "text.parse_math": False,  # a label may contain two dollar signs
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "figure.facecolor": _PAPER,
    "grid.color": _SOFT,
    "grid.alpha": 0.35,
    "legend.frameon": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
}
_SQUARE = (3.6, 3.2)  # inches
_NAME = 28
"""Maximum length of a method's name in a plot; the tables have the full name."""

Array = NDArray[np.floating[Any]]
Line = tuple[Array, Array]


def curves(lines: Mapping[str, Line], x: str, y: str, limit: float = 1.0) -> str:
    """Lines (x, y) of fractions by name, up to ``limit`` on x; the first line is solid."""
    with mpl.rc_context(_STYLE):
        figure, axes = _axes()
        for (name, line), style in zip(lines.items(), ("-", "--"), strict=False):
            colour = _ONE if style == "-" else _TWO
            axes.plot(*line, style, color=colour, lw=1.6, label=name, clip_on=False)
        axes.set(xlabel=x, ylabel=y, xlim=(0, limit), ylim=(0, 1))
        if len(lines) > 1:
            axes.legend(loc="lower right")
        return _svg(figure)


def histogram(scores: Mapping[str, Array]) -> str:
    """Scores by defect type: one row per type on a shared score axis, each with its own height."""
    with mpl.rc_context(_STYLE):
        figure, axes = _axes((_SQUARE[0], max(1.4, 0.9 + 0.32 * len(scores))), left=0.4)
        edges = np.histogram_bin_edges(np.concatenate(list(scores.values())), 24)
        for row, values in enumerate(list(scores.values())[::-1]):
            counts, _ = np.histogram(values, edges)
            heights = row + 0.82 * counts / max(counts.max(), 1)
            axes.stairs(heights, edges, baseline=row, fill=True, color=_ONE)
        names = [f"{_short(name, 14)} ({len(values)})" for name, values in scores.items()]
        axes.set_yticks([row + 0.4 for row in range(len(names))], names[::-1])
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.set(xlabel="score", ylim=(0, len(names)))
        return _svg(figure)


def scatter(
    costs: Array, values: Array, front: NDArray[np.bool_], shown: Column, cost: Column
) -> str:
    """A metric against a cost; points are numbered, and those on the ``front`` are filled."""
    scale = 100 if shown.unit == "%" else 1
    with mpl.rc_context(_STYLE):
        figure, axes = _axes((3.8, 3.2), left=0.2)
        axes.set_xscale("log")
        order = np.argsort(costs[front])
        axes.step(costs[front][order], values[front][order] * scale, where="post", color=_TWO, lw=1)
        axes.plot(costs[~front], values[~front] * scale, "o", mfc="none", mec=_ONE, ms=5)
        axes.plot(costs[front], values[front] * scale, "s", color=_TWO, ms=6)
        axes.margins(0.14)
        if scale == 100:  # fractions are between 0 and 100%
            low, high = axes.get_ylim()
            axes.set_ylim(max(low, -1), min(high, 101))
        axes.minorticks_off()
        axes.xaxis.set_major_formatter(lambda value, _: cost.show(value))
        _few_ticks(axes, costs)
        axes.set(xlabel=cost.title, ylabel=shown.title + (" (%)" if scale == 100 else ""))
        for numbers, point in _numbers(axes, costs, values * scale):
            axes.annotate(numbers, point, (5, 4), textcoords="offset points", fontsize=8)
        return _svg(figure)


def ranking(names: Sequence[str], ranks: Array, cliques: Sequence[tuple[int, int]]) -> str:
    """A critical-difference diagram: mean ``ranks``, ascending, and a bar for each of ``cliques``.

    As in Demsar (JMLR 2006), with the better half on the left.
    """
    count, bars = len(names), len(cliques)
    half = (count + 1) // 2
    with mpl.rc_context(_STYLE):
        figure = Figure((9, 0.55 + 0.14 * bars + 0.24 * half))
        axes = figure.add_axes((0.3, 0.02, 0.4, 0.96))
        axes.set_axis_off()
        low, high = 1, max(count, 2)
        axes.set(xlim=(low, high), ylim=(-(1 + bars * 0.6 + half), 1.3))
        axes.hlines(0, low, high, color=_INK, lw=1)
        for tick in range(low, high + 1):
            axes.vlines(tick, 0, 0.25, color=_INK, lw=1)
            axes.annotate(str(tick), (tick, 0.35), ha="center", va="bottom")
        for index, (first, last) in enumerate(cliques):
            y, reach = -(0.5 + 0.6 * index), 0.01 * (high - low)
            ends = ranks[first] - reach, ranks[last] + reach
            axes.hlines(y, *ends, color=_TWO, lw=4, clip_on=False)
        top = -(0.8 + bars * 0.6)
        for index, (name, rank) in enumerate(zip(names, ranks, strict=True)):
            left = index < half
            y = top - (index if left else count - 1 - index)
            edge = low if left else high
            axes.plot([rank, rank, edge], [0, y, y], color=_INK, lw=0.8, clip_on=False)
            axes.annotate(
                f"{_short(name, _NAME)} ({rank:.2f})",
                (edge, y),
                (-4 if left else 4, 0),
                textcoords="offset points",
                ha="right" if left else "left",
                va="center",
                annotation_clip=False,
            )
        return _svg(figure)


def _axes(size: tuple[float, float] = _SQUARE, left: float = 0.16) -> tuple[Figure, Axes]:
    figure = Figure(size)
    bottom = 0.48 / size[1]
    return figure, figure.add_axes((left, bottom, 0.95 - left, 0.96 - bottom))


def _few_ticks(axes: Axes, costs: Array) -> None:
    """Label the ends of a logarithmic axis if it has almost no ticks."""
    if costs.max() / costs.min() < 30:
        axes.set_xticks(np.unique([costs.min(), costs.max()]))


def _numbers(axes: Axes, x: Array, y: Array) -> list[tuple[str, tuple[float, float]]]:
    """The numbers of the points, from 1, and their positions; points that touch share one text."""
    seen = axes.transData.transform(np.column_stack([x, y]))
    groups: list[list[int]] = []
    for index in range(len(x)):
        near = (g for g in groups if np.abs(seen[g[0]] - seen[index]).max() < 12)
        group = next(near, None)
        if group is None:
            groups.append([index])
        else:
            group.append(index)
    return [(", ".join(str(i + 1) for i in g), (float(x[g[0]]), float(y[g[0]]))) for g in groups]


def _short(name: str, length: int) -> str:
    """Shortened in the middle, since names that begin alike often end differently."""
    end = length // 2
    return name if len(name) <= length else f"{name[: length - end - 1]}…{name[-end:]}"


def _svg(figure: Figure) -> str:
    file = StringIO()
    figure.savefig(
        file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
    )
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"(font: [\d.]+px) [^;\"]*", r"\1 system-ui, sans-serif", text)
    for number, colour in enumerate(_COLOURS):
        text = text.replace(colour, f"var(--c{number})")
    return text.replace("<defs>", f"<style>{_scheme()}</style><defs>", 1)


def _scheme() -> str:
    light, dark = (
        "".join(f"--c{n}:{pair[i]};" for n, pair in enumerate(_COLOURS.values())) for i in (0, 1)
    )
    return f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"
