from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from adbench_harness import report
from adbench_harness.cli import main
from adbench_harness.planning import plugins
from adbench_harness.planning.locations import Locations
from adbench_harness.results.store import Failure, Heading, Store

SCRIPT = "<script>alert(1)</script>"
# A slash ends a folder's name, so a defect type cannot hold the whole of it.
DEFECT = "<img src=x onerror=alert(2)>"
FILE = "<script>alert(3)<.png"


def _write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())


@pytest.fixture(scope="session")
def parts(tmp_path_factory) -> Path:
    """A folder of one's own images whose every name is markup; the defect is a bright square."""
    root = tmp_path_factory.mktemp("own") / "parts & <b>more"
    draw = np.random.default_rng(0)
    for place, count in {"train/good": 4, "test/good": 3, f"test/{DEFECT}": 3}.items():
        for index in range(count):
            image = draw.integers(90, 110, (60, 80, 3), dtype=np.uint8)
            name = FILE if index == 0 else f"{index}.png"
            if DEFECT in place:
                mask = np.zeros((60, 80), np.uint8)
                mask[20:40, 30 + index : 50 + index] = 255
                image[mask > 0] = 250
                _write(root / "ground_truth" / DEFECT / name.replace(".png", "_mask.png"), mask)
            _write(root / place / name, image)
    return root


@pytest.fixture(scope="session")
def results(parts, tmp_path_factory) -> Path:
    """Two models on ``parts``, one of which fails, and one renamed to what a page must escape."""
    out = tmp_path_factory.mktemp("results")
    toys = Path(__file__).parents[1] / "toys.py"
    asked = ("--models", "toy-mean:gain=[1,2],toy-raises", "--scorers", "toy-map")
    asked = (*asked, "--preprocessors", "none")
    where = ("--datasets", "folder", "--data", f"folder={parts}", "--device", "cpu")
    command = ["run", "--plugins", str(toys), *asked, *where, "--keep-maps", "--out", str(out)]
    assert main(command) == 1
    store = Store(out)
    first = next(r for r in store.read() if r.status == "ok")
    model = replace(first.trial.model, name=SCRIPT, params={SCRIPT: SCRIPT}, changed=(SCRIPT,))
    weights = {"weights": [], "commit": SCRIPT, "images": {"train": SCRIPT}, "notes": [SCRIPT]}
    hostile = replace(
        first,
        trial=replace(first.trial, model=model),
        flags=(SCRIPT,),
        provenance={**first.provenance, **weights, SCRIPT: SCRIPT},
        metrics={**first.metrics, SCRIPT: 0.5},
        columns={**first.columns, SCRIPT: Heading(SCRIPT, "")},
        failures=(Failure(SCRIPT, SCRIPT, SCRIPT),),
        images=store.images(first.trial),
        maps=store.maps(first.trial),
    )
    store.write(hostile)
    return out


@pytest.fixture(scope="session")
def catalogue():
    return plugins.load([str(Path(__file__).parents[1] / "toys.py")])


@pytest.fixture(scope="session")
def locations(parts):
    return Locations(datasets={"folder": str(parts)})


@pytest.fixture(scope="session")
def site(results, catalogue, locations, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("site")
    written = report.write(Store(results), root, catalogue=catalogue, locations=locations)
    assert written == report.Written(rows=4, missing=())
    return root


class Page(HTMLParser):
    """A page's tags with their attributes, its text, and the data in its scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.data: list[Any] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        tag, attributes = self.tags[-1] if self.tags else ("", {})
        if tag == "script" and attributes.get("type") == "application/json" and data.strip():
            self.data.append(json.loads(data))
        else:
            self.text += data

    def handle_endtag(self, tag):
        if tag == "script":
            self.tags.append(("", {}))

    def words(self) -> str:
        return re.sub(r"\s+", " ", self.text)

    def all(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]


@pytest.fixture(scope="session")
def read():
    """Pages of a site, the board first."""

    def pages(root: Path) -> list[Page]:
        return [Page(path) for path in [root / "index.html", *sorted(root.glob("rows/*.html"))]]

    return pages


@pytest.fixture(scope="session")
def page_of():
    """The one page of a row that has a text."""

    def found(pages: list[Page], text: str) -> Page:
        (page,) = [page for page in pages[1:] if text in page.text]
        return page

    return found


@pytest.fixture(scope="session")
def whole():
    """Every page of a site."""
    return lambda root: [Page(path) for path in sorted(root.rglob("*.html"))]


def _compared(root: Path) -> list[dict[str, Any]]:
    start, end = "adbench.receive(", ");\n"
    texts = [path.read_text(encoding="ascii") for path in sorted(root.glob("data/*.js"))]
    assert all(text.startswith(start) and text.endswith(end) for text in texts)
    return [json.loads(text.removeprefix(start).removesuffix(end)) for text in texts]


@pytest.fixture(scope="session")
def compared():
    """The data of a site's categories, by which two rows are compared."""
    return _compared


@pytest.fixture
def changed(results, tmp_path):
    """The stored results, each changed by a function, in a store of their own."""

    def change(by) -> Store:
        old, new = Store(results), Store(tmp_path / "changed")
        for result in old.read():
            arrays = {"images": old.images(result.trial), "maps": old.maps(result.trial)}
            new.write(by(replace(result, **arrays)))
        return new

    return change
