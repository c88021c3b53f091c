from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from adbench_harness.leaderboard.columns import Column
from adbench_harness.report import figure

HOSTILE = ["<script>alert(1)</script>", "$a$ & $b", '"quoted"', "]]>"]
VALUES = np.array([0.9, 0.8, 0.9, 0.5])
COSTS = np.array([10.0, 12.0, 10.0, 900.0])
LINE = np.array([0, 0.5, 1]), np.array([0, 0.8, 1])


def plots():
    yield figure.curves(dict.fromkeys(HOSTILE[:2], LINE), "x", "y")
    yield figure.histogram(dict.fromkeys(HOSTILE, VALUES))
    yield figure.scatter(
        COSTS, VALUES, VALUES > 0.85, Column("image AUROC"), Column("ms/image", "ms")
    )
    yield figure.ranking(HOSTILE, np.arange(1.0, 5), [(0, 1), (1, 3)])


@pytest.mark.parametrize("place", range(4))
def test_an_svg_is_sound_says_names_as_text_and_follows_the_scheme(place):
    text = list(plots())[place]
    assert list(plots())[place] == text
    tree = ET.fromstring(text)
    assert {child.tag.rpartition("}")[2] for child in tree.iter()} <= {
        *("svg", "style", "defs", "g", "path", "use", "text", "clipPath", "rect")
    }
    assert "prefers-color-scheme:dark" in text
    # No colour of its own: what is not the scheme's would be unreadable in one of them.
    styles = [e.get("style", "") + e.get("fill", "") + e.get("stroke", "") for e in tree.iter()]
    found = re.findall(r"(?:fill|stroke): *([^;]+)", ";".join(styles))
    assert found
    assert set(found) <= {"none", *(f"var(--c{n})" for n in range(5))}
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)


def texts(svg):
    return [e.text for e in ET.fromstring(svg).iter() if e.tag.endswith("}text")]


def test_points_that_touch_share_a_text():
    svg = list(plots())[2]
    assert {"1, 3", "2", "4"} <= set(texts(svg))


def test_a_histogram_has_a_row_a_defect_type_with_its_count():
    found = texts(figure.histogram({"good": VALUES, "crack": VALUES[:2]}))
    assert {"good (4)", "crack (2)", "score"} <= set(found)


def test_one_score_and_one_method_can_be_drawn():
    ET.fromstring(figure.histogram({"good": np.array([0.5])}))
    ET.fromstring(figure.ranking(["a"], np.array([1.0]), []))
    shown, cost = Column("image AUROC"), Column("FLOPs", "count")
    ET.fromstring(figure.scatter(COSTS[:1], VALUES[:1], np.array([True]), shown, cost))
