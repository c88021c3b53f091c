from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench_harness.cli import main
from adbench_harness.images import folders
from adbench_harness.planning import plugins
from adbench_harness.results.store import Store

TOYS = str(Path(__file__).parents[1] / "toys.py")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scores") / "results"
    options = ("--models", "toy-mean", "--scorers", "toy-map", "--preprocessors", "none")
    command = ["run", "--plugins", TOYS, *options, "--keep-maps", "--device", "cpu"]
    assert main([*command, "--out", str(folder)]) == 0
    return folder


def test_scores_are_those_of_the_results(results, tmp_path, capsys):
    assert main(["scores", str(results), "-o", str(tmp_path / "a.csv")]) == 0
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert (
        f"{len(rows)} images, 1 column of scores from 1 row of the board: {tmp_path / 'a.csv'}"
        in capsys.readouterr().out
    )
    store = Store(results)
    for result in store.read():
        images = store.images(result.trial)
        own = {r["image"]: r for r in rows if r["category"] == result.trial.category}
        for path, label, score in zip(
            images["path"], images["label"], images["score"], strict=True
        ):
            assert own[path]["label"] == ("" if label < 0 else str(label))
            assert float(own[path]["toy-mean · toy-map"]) == pytest.approx(float(score))


@pytest.mark.parametrize("bits", [16, 32])
def test_maps_lie_where_a_server_expects_them(results, toys, tmp_path, bits):
    command = ["scores", str(results), "--maps", str(tmp_path), "--bits", str(bits)]
    assert main([*command, "--plugins", toys]) == 0
    store = Store(results)
    trial = next(store.read()).trial
    for path in store.images(trial)["path"]:
        place = tmp_path / "toy-mean_toy-map" / "anomaly_images" / path
        file = place.with_suffix(".tiff")
        assert file.is_file()
        if bits == 32:
            with Image.open(file) as image:
                assert np.isfinite(np.array(image)).all()


def test_only_the_plugins_of_the_results_are_imported(results, toys, tmp_path, monkeypatch):
    def load(names):
        asked.extend(names)
        return real(names)

    asked, real = [], plugins.load
    monkeypatch.setattr(plugins, "load", load)
    assert main(["scores", str(results), "--maps", str(tmp_path), "--plugins", toys]) == 0
    assert set(asked) == {toys}


def test_mistakes_are_one_line(results, error, tmp_path):
    assert "scores needs -o FILE" in error("scores", results)
    (tmp_path / "none").touch()
    where = tmp_path / "none" / "a.csv"
    assert f"'{where}' cannot be written" in error("scores", results, "-o", where)
    assert "did you mean 'toy-mean'" in error(
        "scores", results, "-o", "a", "--only", "model=toy-men"
    )
    typo = ("--maps", tmp_path, "--data", f"toy={tmp_path}")
    assert f"--data toy={tmp_path}: no data set 'toy'" in error("scores", results, *typo)


def test_a_refusal_leaves_nothing(results, toys, error, tmp_path):
    """Although the first category was written when the second was not found."""
    own = shutil.copytree(folders.cache_folder() / "data" / "toy-data", tmp_path / "own")
    image = max(own.rglob("*.png"))
    image.write_bytes(image.read_bytes() + b"\0")
    where = ("--plugins", toys, "--data", f"toy-data={own}")
    said = error("scores", results, "--maps", tmp_path / "maps", *where)
    assert "; or select other results with --only" in said
    assert [path.name for path in tmp_path.iterdir()] == ["own"]
    first = ("--only", f"category={min(path.name for path in own.iterdir())}")
    assert main(["scores", str(results), "--maps", str(tmp_path / "maps"), *where, *first]) == 0
    assert list((tmp_path / "maps").rglob("*.tiff"))


def test_without_maps_it_says_how_to_get_them(results, toys, error, tmp_path):
    for file in (results / "trials").glob("*.json"):
        (tmp_path / "bare" / "trials").mkdir(parents=True, exist_ok=True)
        (tmp_path / "bare" / "trials" / file.name).write_bytes(file.read_bytes())
    said = error("scores", tmp_path / "bare", "--maps", tmp_path, "--plugins", toys)
    assert "has maps; run it again with --keep-maps" in said
