from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import save

from adbench_harness.cli import main
from adbench_harness.results.store import Store

TOYS = str(Path(__file__).parents[1] / "toys.py")


def test_without_a_kept_model_it_is_fitted_again_with_the_same_scores(
    one, fitted, copied, root, predicted
):
    for path in copied.rglob("*.safetensors"):
        path.unlink()
    result = next(Store(fitted).read())
    folder = root / result.trial.category / "test"
    kept, said = predicted(fitted, folder, *one(result))
    assert re.search(r"the kept model saves \S+ (s|min) of fitting", said)
    again, said = predicted(copied, folder, *one(result))
    assert "is fitted again; run with --keep-models" in said
    assert again == kept


def test_a_damaged_model_is_named(one, copied, root, predicted):
    for path in copied.rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-20])
    result = next(Store(copied).read())
    _, said = predicted(copied, root / result.trial.category / "test", *one(result), code=2)
    assert ".safetensors: not the fitted model that the run kept (its checksum is not" in said


def test_the_model_of_another_trial_is_not_taken(one, copied, exchanged, root, predicted):
    result = exchanged("safetensors")
    _, said = predicted(copied, root / result.trial.category / "test", *one(result), code=2)
    assert "not the fitted model that the run kept" in said


def test_a_plugin_whose_file_has_changed_is_refused(fitted, root, predicted, tmp_path, capsys):
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


NO_PARTS = '{"parts": {}, "heights": [8, 8], "widths": [8, 8], "depth": 8}'


@pytest.mark.parametrize("state", ["[]", "{}", NO_PARTS, "deep", "other"])
def test_a_model_that_was_made_by_anybody_is_one_line(one, copied, root, predicted, state):
    for path in copied.rglob("*.safetensors"):
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
    result = next(Store(copied).read())
    _, said = predicted(copied, root / result.trial.category / "test", *one(result), code=2)
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
def test_what_is_not_one_row_is_refused(fitted, root, predicted, arguments, line):
    _, said = predicted(fitted, root, *arguments, code=2)
    assert line in said
