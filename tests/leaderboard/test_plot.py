"""What is drawn where; ``test_parameters.py`` has whole plots."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.figure import Figure

from adbench_harness.errors import UserError
from adbench_harness.leaderboard import plot
from adbench_harness.results.store import Store


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved."""
    figures: list[Figure] = []
    monkeypatch.setattr(plot, "_save", lambda figure, output: figures.append(figure) or "")
    return figures


@pytest.fixture
def store(tmp_path: Any, result: Any) -> Store:
    """Two models at three ratios with two seeds, and one that has no ratio."""
    found = Store(tmp_path / "results")
    for model, base in (("one", 0.5), ("two", 0.6)):
        for ratio in (0.1, 10, 9):
            for seed in (0, 1):
                value = base + 0.01 * ratio + 0.1 * seed
                found.write(result(value, model=model, params={"ratio": ratio}, seed=seed))
    found.write(result(0.9, model="plain"))
    return found


def test_a_sweep_has_a_line_a_method_in_the_order_of_the_numbers(store, drawn, tmp_path) -> None:
    title = plot.sweep(store, tmp_path / "x.svg", x="ratio", by=["model"])
    assert title == "image AUROC by ratio"
    [panel] = drawn[0].axes
    lines = {line.get_label(): line for line in panel.lines}
    assert set(lines) == {"one", "two", "plain"}
    assert lines["one"].get_xdata().tolist() == [0.1, 9.0, 10.0]
    assert lines["one"].get_ydata() == pytest.approx([55.1, 64, 65]), "means over seeds, in %"
    assert panel.get_ylabel() == "image AUROC (%)"
    assert lines["plain"].get_linestyle() == "--", "it has no ratio"
    assert list(lines["plain"].get_ydata()) == pytest.approx([90, 90])


def test_long_names_below_the_panel_are_not_cut(store, drawn, tmp_path, result) -> None:
    for number in range(4):
        name = f"a-model-with-a-long-name-{number}"
        store.write(result(0.9, model=name, params={"ratio": 9}))
    plot.sweep(store, tmp_path / "x.svg", x="ratio", by=["model"])
    [figure] = drawn
    figure.draw_without_rendering()
    [legend] = figure.legends
    within, around = legend.get_window_extent(), figure.bbox
    assert around.x0 <= within.x0
    assert within.x1 <= around.x1
    assert not figure.axes[0].get_window_extent().overlaps(within)


def test_of_many_rows_those_on_the_front_are_named(tmp_path, result, drawn) -> None:
    store = Store(tmp_path / "results")
    for number in range(12):
        cost = 100 - number if number in (3, 4) else 200
        metrics = {
            "image_auroc": 0.8 + 0.01 * (number in (3, 4)) - 0.001 * number,
            "ms_per_image": cost,
        }
        store.write(result(metrics, model=f"m{number}"))
    plot.sweep(store, tmp_path / "x.svg", x="ms_per_image", by=["model"])
    [legend] = drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["m3", "m4", "others"]
    points = [one for one in drawn[0].axes[0].collections if len(one.get_offsets())]
    assert len(points) == 12


def test_curves_of_a_method_are_averaged_over_the_training(
    tmp_path: Any, result: Any, drawn: list[Figure]
) -> None:
    store = Store(tmp_path / "results")
    for seed in (0, 1):
        one = result(0.5, model="one", seed=seed)
        logged = {"loss": np.array([1.0, 0.5, 0.25, 0.1])[: 4 - seed] + seed}
        store.write(type(one)(**{**vars(one), "curves": logged}))
    assert plot.curves(store, tmp_path / "x.svg", by=["model"]) == "loss during training"
    [line] = drawn[0].axes[0].lines
    assert line.get_ydata().tolist() == [1.5, 1.0, 0.75], "as far as both go"
    assert line.get_xdata()[-1] == 100


def test_a_file_that_cannot_be_written_is_refused(store, tmp_path) -> None:
    with pytest.raises(UserError, match=r"'.*/no/x.svg' cannot be drawn: "):
        plot.sweep(store, tmp_path / "no" / "x.svg", x="ratio", by=["model"])


@pytest.mark.parametrize("name", ["\x1b[2J\x00\x07", "<&>--", "$x^{$", "$a$ and $b$", "]]>", "_a"])
@pytest.mark.filterwarnings("error")
def test_any_name_makes_a_drawing_that_is_xml(tmp_path: Path, result: Any, name: str) -> None:
    store = Store(tmp_path / "results")
    for ratio in ("a", name):
        params = {"ratio": ratio}
        logged = {f"loss {name.replace(chr(0), '')}": np.array([3.0, 2.0])}
        store.write(replace(result(0.5, model=name, params=params), curves=logged))
    plot.sweep(store, tmp_path / "sweep.svg", x="ratio", by=["model"])
    plot.curves(store, tmp_path / "curves.svg", by=["model"])
    for drawing in ("sweep.svg", "curves.svg"):
        assert ET.parse(tmp_path / drawing).getroot().tag.endswith("svg")


@pytest.mark.filterwarnings("error")
def test_characters_that_the_font_lacks_are_in_the_title(tmp_path: Path, result: Any) -> None:
    store = Store(tmp_path / "results")
    for ratio in (1, 2):
        store.write(result(0.5, model="中文", params={"ratio": ratio}))
    title = plot.sweep(store, tmp_path / "x.svg", x="ratio", by=["model"])
    assert title == "image AUROC by ratio; the font of the plot has no 中文"
