from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from adbench_harness.cli import main
from adbench_harness.results.store import Store

TOYS = str(Path(__file__).parents[1] / "toys.py")


def test_test_images_get_the_scores_that_are_stored(one, fitted, root, predicted, tmp_path):
    store = Store(fitted)
    for result in store.read():
        images = store.images(result.trial)
        paths = [root / path for path in images["path"]]
        maps = tmp_path / result.trial.id
        rows, _ = predicted(fitted, *paths, *one(result), "--maps", maps)
        assert [row["image"] for row in rows] == list(map(str, paths))
        assert [float(row["score"]) for row in rows] == pytest.approx(images["score"].tolist())
        stored = store.maps(result.trial).values
        files = sorted(maps.rglob("*.tiff"))
        assert len(files) == len(stored)
        with Image.open(files[0]) as image:
            assert np.isfinite(np.array(image)).all()


def test_a_bad_image_costs_its_own_line(one, fitted, root, predicted, tmp_path):
    result = next(Store(fitted).read())
    good = next((root / result.trial.category / "test").rglob("*.png"))
    (tmp_path / "junk.png").write_text("junk")
    paths = (tmp_path / "junk.png", good, tmp_path / "junk.png")
    rows, said = predicted(fitted, *paths, *one(result), code=1)
    assert [bool(row["score"]) for row in rows] == [False, True, False]
    assert "cannot be decoded" in rows[0]["error"]
    assert rows[1]["error"] == ""
    assert "2 could not be scored" in said


def test_heat_maps_have_the_size_of_their_images(one, fitted, root, predicted, tmp_path):
    result = next(Store(fitted).read())
    folder = root / result.trial.category / "test"
    predicted(fitted, folder, *one(result), "--heatmaps", tmp_path / "heat")
    images = sorted(folder.rglob("*.png"))
    drawn = sorted((tmp_path / "heat").rglob("*.png"))
    assert [p.relative_to(tmp_path / "heat") for p in drawn] == [
        path.relative_to(folder) for path in images
    ]
    shown = cv2.imread(str(drawn[0]))
    assert shown.shape == cv2.imread(str(images[0])).shape
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 2


@pytest.mark.parametrize("option", ["-o", "--heatmaps", "--maps"])
def test_no_image_is_replaced(one, fitted, root, predicted, tmp_path, option):
    result = next(Store(fitted).read())
    image = tmp_path / "a.png"
    shutil.copy(next((root / result.trial.category / "test").rglob("*.png")), image)
    (tmp_path / "a.tiff").symlink_to(image)
    before = image.read_bytes()
    place = image if option == "-o" else tmp_path
    command = ["predict", str(fitted), str(image), *one(result), "--plugins", TOYS]
    assert main([*command, option, str(place)]) == 2
    assert image.read_bytes() == before


@pytest.mark.parametrize("option", ["-o", "--heatmaps", "--maps"])
def test_no_stored_result_is_replaced(one, fitted, root, tmp_path, capsys, option):
    result = next(Store(fitted).read())
    image = next((root / result.trial.category / "test").rglob("*.png"))
    stored = {path: path.read_bytes() for path in (fitted / "trials").iterdir()}
    place = fitted / "trials" / (f"{result.trial.id}.json" if option == "-o" else "maps")
    command = ["predict", str(fitted), str(image), *one(result), "--plugins", TOYS]
    assert main([*command, option, str(place)]) == 2
    assert "is among the stored results; name another place" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (fitted / "trials").iterdir()} == stored


def test_images_unlike_the_training_images_are_named(one, fitted, root, predicted, tmp_path):
    result = next(Store(fitted).read())
    for name, size in (("wide", (384, 40)), ("narrow", (1, 192)), ("same", (48, 40))):
        Image.new("RGB", size, "gray").save(tmp_path / f"{name}.png")
    names = [tmp_path / f"{name}.png" for name in ("same", "wide", "narrow")]
    rows, said = predicted(fitted, *names, *one(result), "--maps", tmp_path / "maps")
    assert [row["error"] for row in rows] == ["", "", ""]
    assert "2 of 3 images are smaller or larger than the training images (48 x 40 px)" in said
    assert "wide.png (384 x 40 px): nothing was measured on such images" in said
    _, said = predicted(fitted, names[0], *one(result))
    assert "than the training images" not in said


def test_files_of_a_folder_that_are_not_read_are_named(one, fitted, predicted, tmp_path):
    result = next(Store(fitted).read())
    folder = tmp_path / "new"
    folder.mkdir()
    Image.new("RGB", (48, 40)).save(folder / "a.png")
    Image.new("RGB", (48, 40)).save(folder / "b.gif")
    (folder / "notes.txt").write_text("")
    rows, said = predicted(fitted, folder, *one(result))
    assert [Path(row["image"]).name for row in rows] == ["a.png"]
    assert "1 file is not used: 1 in new (b.gif: files with the suffix .gif are not read)" in said


def test_an_output_that_cannot_be_written_is_refused_first(one, fitted, root, predicted, tmp_path):
    result = next(Store(fitted).read())
    (tmp_path / "file").write_text("")
    folder = root / result.trial.category / "test"
    _, said = predicted(fitted, folder, *one(result), "--maps", tmp_path / "file/maps", code=2)
    assert "maps' cannot be written: " in said
    assert "threshold" not in said


def test_a_run_says_which_finished_trials_kept_no_model(tmp_path, capsys):
    options = ("--models", "toy-mean", "--scorers", "toy-map", "--preprocessors", "none")
    command = ["run", "--plugins", TOYS, *options, "--datasets", "toy-data/dark"]
    command += ["--device", "cpu", "--out", str(tmp_path / "out")]
    assert main(command) == 0
    assert "kept no fitted model" not in capsys.readouterr().err
    assert main([*command, "--keep-models"]) == 0
    assert "1 finished trial kept no fitted model; run into a new folder" in capsys.readouterr().err


def test_no_image_is_refused(fitted, predicted):
    _, said = predicted(fitted, "nowhere/*.png", code=2)
    assert "'nowhere/*.png': no image was found" in said


DRAWS = """
from dataclasses import replace

import torch
from toys import ToyModel


class Draws(ToyModel):
    name = "draws"

    def predict(self, batch):
        own = [torch.Generator().manual_seed(seed) for seed in batch.seeds.tolist()]
        noise = torch.stack([torch.rand((1, 1, 1), generator=one) for one in own])
        return super().predict(replace(batch, images=batch.images + noise))


@hookimpl
def adbench_models():
    return [Draws]
"""


def test_a_model_that_draws_for_each_image_says_how_far_its_scores_move(
    root, tmp_path, plugin_file, capsys
):
    options = ["--plugins", f"{TOYS},{plugin_file('draws', DRAWS)}", "--device", "cpu"]
    chosen = ("--models", "draws,toy-mean", "--scorers", "toy-map", "--preprocessors", "none")
    out = str(tmp_path / "out")
    command = ["run", *options, *chosen, "--datasets", "toy-data/dark", "--keep-models"]
    assert main([*command, "--out", out]) == 0
    image = str(next((root / "dark" / "test").rglob("*.png")))
    for model, draws in (("draws", True), ("toy-mean", False)):
        capsys.readouterr()
        assert main(["predict", out, image, "--row", model, *options]) == 0
        said = " ".join(capsys.readouterr().err.split())
        assert ("draws random numbers for each image" in said) == draws
        assert ("drawn again, that of the first image moves by" in said) == draws
