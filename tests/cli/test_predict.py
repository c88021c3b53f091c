from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save
from sklearn.metrics import f1_score

from adbench_harness.cli import main
from adbench_harness.images import folders
from adbench_harness.planning import plugins
from adbench_harness.results.store import Store

TOYS = str(Path(__file__).parents[1] / "toys.py")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predict") / "results"
    options = ("--models", "toy-mean", "--scorers", "toy-map", "--preprocessors", "none,toy-dim")
    command = ["run", "--plugins", TOYS, *options, "--keep-models", "--validation", "0.6"]
    assert main([*command, "--device", "cpu", "--keep-maps", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def root():
    return folders.locate(plugins.load([TOYS]).get("dataset", "toy-data")(), None, {})


def one(result):
    """The options that select a result."""
    trial = result.trial
    return ["--only", f"category={trial.category}", "--only", f"preprocessor={trial.preprocessor}"]


@pytest.fixture
def predicted(tmp_path, capsys):
    def run(results, *arguments, code=0):
        out = tmp_path / "scores.csv"
        arguments = [*map(str, arguments), "--plugins", TOYS, "--device", "cpu"]
        assert main(["predict", str(results), *arguments, "-o", str(out)]) == code
        said = capsys.readouterr()
        rows = list(csv.DictReader(out.open())) if out.exists() else []
        return rows, " ".join(said.err.split())

    return run


def test_test_images_get_the_scores_that_are_stored(results, root, predicted, tmp_path):
    store = Store(results)
    for result in store.read():
        images = store.images(result.trial)
        paths = [root / path for path in images["path"]]
        maps = tmp_path / result.trial.id
        rows, _ = predicted(results, *paths, *one(result), "--maps", maps)
        assert [row["image"] for row in rows] == list(map(str, paths))
        assert [float(row["score"]) for row in rows] == pytest.approx(images["score"].tolist())
        stored = store.maps(result.trial).values
        files = sorted(maps.rglob("*.tiff"))
        assert len(files) == len(stored)
        with Image.open(files[0]) as image:
            assert np.isfinite(np.array(image)).all()


def test_a_verdict_is_by_the_held_out_images(results, root, predicted):
    store = Store(results)
    result = next(store.read())
    held_out = store.images(result.trial)["validation"]
    rows, said = predicted(results, root / result.trial.category / "test", *one(result))
    assert {row["verdict"] for row in rows} == {"normal", "anomalous"}
    for row in rows:
        assert (row["verdict"] == "anomalous") == (float(row["score"]) > held_out.max())
    assert "cannot show a lower rate" in said
    rows, said = predicted(
        results, root / result.trial.category / "test", *one(result), "--threshold", "-1000"
    )
    assert {row["verdict"] for row in rows} == {"anomalous"}
    rows, said = predicted(
        results, root / result.trial.category / "test", *one(result), "--false-alarms", "0.5"
    )
    level = np.sort(held_out)[::-1][len(held_out) // 2]
    assert f"threshold {level:.6g}: at most 0.5 of {len(held_out)}" in said
    assert "cannot show" not in said


def test_a_threshold_may_be_chosen_on_the_test_images_and_says_so(results, root, predicted):
    store = Store(results)
    result = next(store.read())
    images = store.images(result.trial)
    paths = [root / path for path in images["path"]]
    rows, said = predicted(results, *paths, *one(result), "--threshold", "best-f1")
    assert "the best F1 on the test images, which were used to choose it" in said
    verdicts = [int(row["verdict"] == "anomalous") for row in rows]
    assert f1_score(images["label"], verdicts) == pytest.approx(result.metrics["image_f1"])
    _, said = predicted(results, *paths, *one(result), "--threshold", "best", code=2)
    assert "--threshold 'best' is not a score or best-f1" in said


def test_a_bad_image_costs_its_own_line(results, root, predicted, tmp_path):
    result = next(Store(results).read())
    good = next((root / result.trial.category / "test").rglob("*.png"))
    (tmp_path / "junk.png").write_text("junk")
    paths = (tmp_path / "junk.png", good, tmp_path / "junk.png")
    rows, said = predicted(results, *paths, *one(result), code=1)
    assert [bool(row["score"]) for row in rows] == [False, True, False]
    assert "cannot be decoded" in rows[0]["error"]
    assert rows[1]["error"] == ""
    assert "2 could not be scored" in said


def test_heat_maps_have_the_size_of_their_images(results, root, predicted, tmp_path):
    result = next(Store(results).read())
    folder = root / result.trial.category / "test"
    predicted(results, folder, *one(result), "--heatmaps", tmp_path / "heat")
    images = sorted(folder.rglob("*.png"))
    drawn = sorted((tmp_path / "heat").rglob("*.png"))
    assert [p.relative_to(tmp_path / "heat") for p in drawn] == [
        path.relative_to(folder) for path in images
    ]
    shown = cv2.imread(str(drawn[0]))
    assert shown.shape == cv2.imread(str(images[0])).shape
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 2


def test_without_a_kept_model_it_is_fitted_again_with_the_same_scores(
    results, root, predicted, tmp_path
):
    copy = tmp_path / "copy"
    shutil.copytree(results, copy)
    for path in copy.rglob("*.safetensors"):
        path.unlink()
    result = next(Store(results).read())
    folder = root / result.trial.category / "test"
    kept, said = predicted(results, folder, *one(result))
    assert re.search(r"the kept model saves \S+ (s|min) of fitting", said)
    again, said = predicted(copy, folder, *one(result))
    assert "is fitted again; run with --keep-models" in said
    assert again == kept


def test_a_damaged_model_is_named(results, root, predicted, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(results, copy)
    for path in copy.rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-20])
    result = next(Store(results).read())
    _, said = predicted(copy, root / result.trial.category / "test", *one(result), code=2)
    assert ".safetensors: not the fitted model that the run kept (its checksum is not" in said


def test_the_model_of_another_trial_is_not_taken(results, root, predicted, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(results, copy)
    first, second, *_ = Store(copy).read()
    trials = copy / "trials"
    shutil.copy(trials / f"{second.trial.id}.safetensors", trials / f"{first.trial.id}.safetensors")
    _, said = predicted(copy, root / first.trial.category / "test", *one(first), code=2)
    assert "not the fitted model that the run kept" in said


@pytest.mark.parametrize("option", ["-o", "--heatmaps", "--maps"])
def test_no_image_is_replaced(results, root, predicted, tmp_path, option):
    result = next(Store(results).read())
    image = tmp_path / "a.png"
    shutil.copy(next((root / result.trial.category / "test").rglob("*.png")), image)
    (tmp_path / "a.tiff").symlink_to(image)
    before = image.read_bytes()
    place = image if option == "-o" else tmp_path
    command = ["predict", str(results), str(image), *one(result), "--plugins", TOYS]
    assert main([*command, option, str(place)]) == 2
    assert image.read_bytes() == before


def test_an_output_that_cannot_be_written_is_refused_first(results, root, predicted, tmp_path):
    result = next(Store(results).read())
    (tmp_path / "file").write_text("")
    folder = root / result.trial.category / "test"
    _, said = predicted(results, folder, *one(result), "--maps", tmp_path / "file/maps", code=2)
    assert "maps' cannot be written: " in said
    assert "threshold" not in said


@pytest.mark.parametrize("level", ["nan", "inf", "-inf", "high"])
def test_a_threshold_is_a_number(results, root, predicted, level):
    result = next(Store(results).read())
    folder = root / result.trial.category / "test"
    _, said = predicted(results, folder, *one(result), f"--threshold={level}", code=2)
    assert f"--threshold '{level}' is not a score or best-f1" in said


def test_a_plugin_whose_file_has_changed_is_refused(results, root, predicted, tmp_path, capsys):
    plugin = tmp_path / "own.py"
    plugin.write_text(Path(TOYS).read_text())
    out = tmp_path / "own"
    options = ("--models", "toy-mean", "--scorers", "toy-map", "--preprocessors", "none")
    command = ["run", "--plugins", str(plugin), *options, "--datasets", "toy-data/dark"]
    assert main([*command, "--keep-models", "--device", "cpu", "--out", str(out)]) == 0
    plugin.write_text(plugin.read_text() + "\n# changed\n")
    capsys.readouterr()
    image = str(next((root / "dark" / "test").rglob("*.png")))
    assert main(["predict", str(out), image, "--plugins", str(plugin)]) == 2
    assert "the file of plugin 'own' has changed since" in capsys.readouterr().err


def test_a_run_says_which_finished_trials_kept_no_model(tmp_path, capsys):
    options = ("--models", "toy-mean", "--scorers", "toy-map", "--preprocessors", "none")
    command = ["run", "--plugins", TOYS, *options, "--datasets", "toy-data/dark"]
    command += ["--device", "cpu", "--out", str(tmp_path / "out")]
    assert main(command) == 0
    assert "kept no fitted model" not in capsys.readouterr().err
    assert main([*command, "--keep-models"]) == 0
    assert "1 finished trial kept no fitted model; run into a new folder" in capsys.readouterr().err


@pytest.mark.parametrize("state", ["[]", "{}", '{"parts": {}, "depth": 8}', "deep", "other"])
def test_a_model_that_was_made_by_anybody_is_one_line(results, root, predicted, tmp_path, state):
    copy = tmp_path / "copy"
    shutil.copytree(results, copy)
    for path in copy.rglob("*.safetensors"):
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            own = file.metadata()["adbench"]
        deep = own.replace('"tensor":', '"tensor": ' + "[" * 500 + "]" * 500 + ', "x":')
        text = {"deep": deep, "other": own.replace('"tensor"', '"neighbours"')}.get(state, state)
        content = save(tensors, {"adbench": text})
        path.write_bytes(content)
        record = path.with_suffix(".json")
        made = json.loads(record.read_text())
        made["provenance"]["fitted"] = hashlib.sha256(content).hexdigest()
        record.write_text(json.dumps(made))
    result = next(Store(copy).read())
    _, said = predicted(copy, root / result.trial.category / "test", *one(result), code=2)
    assert "not the fitted model" in said or "cannot be restored" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "trials are selected; name one row with --row: "),
        (("--row", "toy-mea"), "--row 'toy-mea': no row that ran has this method (did you mean"),
        (("--row", "toy-mean · toy-map"), "trials are selected; name one with --only category="),
        (("--false-alarms", "1.5"), "--false-alarms 1.5: write a share"),
    ],
)
def test_what_is_not_one_row_is_refused(results, root, predicted, arguments, line):
    _, said = predicted(results, root, *arguments, code=2)
    assert line in said


def test_no_image_is_refused(results, predicted):
    _, said = predicted(results, "nowhere/*.png", code=2)
    assert "'nowhere/*.png': no image was found" in said


def test_without_held_out_images_there_is_no_verdict(root, predicted, tmp_path):
    options = ("--models", "toy-mean", "--scorers", "toy-map", "--preprocessors", "none")
    command = ["run", "--plugins", TOYS, *options, "--keep-models", "--device", "cpu"]
    assert main([*command, "--out", str(tmp_path / "plain")]) == 0
    result = next(Store(tmp_path / "plain").read())
    folder = root / result.trial.category / "test"
    rows, said = predicted(tmp_path / "plain", folder, *one(result))
    assert {row["verdict"] for row in rows} == {""}
    assert "no verdicts: the run held out no normal images; run with --validation 0.2" in said
    _, said = predicted(tmp_path / "plain", folder, *one(result), "--false-alarms", "0.1", code=2)
    assert "held out no normal images" in said
