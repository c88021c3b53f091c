from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench_harness.cli import main
from adbench_harness.images import folders
from adbench_harness.planning import plugins
from adbench_harness.results.store import Store
from adbench_harness.running import exporting

TOYS = str(Path(__file__).parents[1] / "toys.py")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "results"
    options = ("--models", "toy-mean", "--scorers", "toy-map", "--preprocessors", "none")
    command = ["run", "--plugins", TOYS, *options, "--datasets", "toy-data/dark", "--keep-models"]
    assert main([*command, "--device", "cpu", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def images():
    root = folders.locate(plugins.load([TOYS]).get("dataset", "toy-data")(), None, {})
    return root / "dark" / "test"


@pytest.fixture
def exported(tmp_path, capsys):
    def run(results, name, *arguments, code=0):
        path = tmp_path / name
        command = ["export", str(results), *map(str, arguments), "--plugins", TOYS]
        assert main([*command, "-o", str(path)]) == code
        said = capsys.readouterr()
        return path, " ".join((said.out + said.err).split())

    return run


@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_a_file_gives_the_stored_scores(results, images, exported, suffix):
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime", exc_type=ImportError)
        pytest.importorskip("onnxscript", exc_type=ImportError)
    path, said = exported(results, f"row{suffix}", images)
    assert "takes uint8 RGB [1, 3, 40, 48], and gives score [1] and map [1, 32, 32]" in said
    store = Store(results)
    (result,) = store.read()
    stored = store.images(result.trial)
    run = exporting.load(path)
    for place, score in zip(stored["path"], stored["score"], strict=True):
        with Image.open(images.parents[1] / place) as image:
            pixels = np.array(image.convert("RGB")).transpose(2, 0, 1)[None]
        found = run(np.ascontiguousarray(pixels))
        assert found["score"][0] == pytest.approx(score, rel=1e-4)
    assert not list(path.parent.glob("*.part*"))


def test_a_file_tells_what_is_anomalous_by_a_threshold(results, images, exported):
    (result,) = Store(results).read()
    score = float(np.median(Store(results).images(result.trial)["score"]))
    path, said = exported(results, "row.pt2", images, "--threshold", score)
    assert "and anomalous [1] (score above" in said
    run = exporting.load(path)
    told = set()
    for image in sorted(images.rglob("*.png")):
        found = run(np.array(Image.open(image).convert("RGB")).transpose(2, 0, 1)[None].copy())
        assert found["anomalous"][0] == (found["score"][0] > np.float32(score))
        told.add(bool(found["anomalous"][0]))
    assert told == {True, False}
    path, said = exported(results, "without.pt2", images)
    assert "run with --validation 0.2" in said
    assert "anomalous" not in said


def test_without_its_libraries_onnx_is_refused(results, images, exported, monkeypatch):
    monkeypatch.setattr(exporting.importlib.util, "find_spec", lambda name: None)
    path, said = exported(results, "row.onnx", images, code=2)
    assert "onnx is not installed; pip install 'adbench-harness[onnx]', or write a .pt2" in said
    assert not path.exists()


def test_another_suffix_is_refused(results, images, exported):
    _, said = exported(results, "row.pt", images, code=2)
    assert "write a file that ends with .pt2 (PyTorch) or .onnx" in said


def test_images_of_several_sizes_are_refused(results, images, exported, tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "small.png")
    _, said = exported(results, "row.pt2", images, tmp_path / "small.png", code=2)
    assert "the images have 2 sizes (30 x 20, 48 x 40 px)" in said


def test_a_file_that_gives_other_scores_is_not_written(results, images, exported, monkeypatch):
    load = exporting.load

    def wrong(path):
        run = load(path)
        return lambda image: {name: 1.01 * value for name, value in run(image).items()}

    monkeypatch.setattr(exporting, "load", wrong)
    path, said = exported(results, "row.pt2", images, code=2)
    assert "gives other scores than the row, by 0.01 of the largest" in said
    assert not list(path.parent.glob("row*"))


def test_a_place_that_cannot_be_written_is_named(results, images, exported, tmp_path):
    (tmp_path / "file").write_text("")
    _, said = exported(results, "file/row.pt2", images, code=2)
    assert "row.pt2' cannot be written: " in said
