"""The functions do what the commands do: same trials, same numbers, same words."""

from __future__ import annotations

import io
import pickle
import re
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
import rich.console

import toys as toy_module
from adbench_harness import api
from adbench_harness.cli import main
from adbench_harness.display import Display
from adbench_harness.errors import UserError
from adbench_harness.results.store import Store


@pytest.fixture
def printed(capsys):
    """What a command prints."""

    def command(*arguments):
        capsys.readouterr()
        assert main(list(map(str, arguments))) == 0
        return capsys.readouterr().out

    return command


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("api") / "results"


@pytest.fixture
def results(out, toys):
    """Four trials; run by the first test that asks, resumed by the others."""
    models = ["toy-mean:gain=1", {"name": "toy-mean", "gain": 2}]
    return api.run(plugins=[toys], models=models, preprocessors="none", out=out)


def test_the_command_has_nothing_left_to_do(results, out, toys, printed):
    models = "toy-mean:gain=1,toy-mean:gain=2"
    flags = ("--plugins", toys, "--models", models, "--preprocessors", "none")
    text = printed("run", *flags, "--out", out)
    first, _, board = text.partition("\n")
    assert first == f"4 of 4 trials are in {out} already"
    assert board == f"{results!r}\n"


def test_a_row_is_a_trial_under_its_id(results, out):
    stored = {result.trial.id: result for result in Store(out).read()}
    assert set(results.index) == set(stored)
    for name, row in results.iterrows():
        trial = stored[name].trial
        assert (row["category"], row["seed"]) == (trial.category, trial.seed)
        assert row["gain"] == trial.model.params["gain"]
        for metric, value in stored[name].metrics.items():
            assert row[metric] == value
    assert results["gain"].dtype == float
    assert set(results["status"]) == {"ok"}


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({}, ()),
        ({"per_category": True}, ("--per-category",)),
        ({"metrics": "pixel_auroc"}, ("--metric", "pixel_auroc")),
        ({"rows": "category", "only": {"gain": 2.0}}, ("--rows", "category", "--only", "gain=2.0")),
        ({"rows": ["gain"], "columns": "category"}, ("--rows", "gain", "--columns", "category")),
        (
            {"rows": ["gain", "model"], "metrics": ["aupro", "image_ap"]},
            ("--rows", "gain,model", "--metric", "aupro,image_ap"),
        ),
    ],
)
def test_a_leaderboard_is_the_commands(results, out, printed, options, flags):
    for given in (results, out):
        shown = api.leaderboard(given, **options)
        assert f"{shown!r}".rstrip("\n") == printed("leaderboard", out, *flags).rstrip("\n")
        html = printed("leaderboard", out, *flags, "--format", "html")
        assert shown._repr_html_().rstrip("\n") == html.rstrip("\n")
        text = printed("leaderboard", out, *flags, "--format", "csv")
        expected = pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""])
        assert list(shown.columns) == list(expected.columns)
        numbers = expected.select_dtypes("number").columns
        np.testing.assert_allclose(shown[numbers], expected[numbers], rtol=1e-12)
        words = expected.columns.difference(numbers)
        assert shown[words].to_numpy().tolist() == expected[words].to_numpy().tolist()


def test_printed_numbers_stand_beside_ours(results):
    shown = api.leaderboard(results, rows="dataset", columns="model", reported=["padim"])
    assert "(reported)" in shown._repr_html_()
    elsewhere = api.leaderboard(results, rows="category", columns="model", reported=["padim"])
    assert "since no result here is on" in elsewhere._repr_html_()
    assert "(reported)" not in api.leaderboard(results, rows="category")._repr_html_()


def test_what_is_cut_from_it_is_a_plain_frame(results):
    for part in (results[results["gain"] == 2], results.head(), results[["gain"]].copy()):
        assert type(part) is pd.DataFrame
    assert "<thead>" in results[["gain"]]._repr_html_()


def test_it_can_be_kept(results):
    again = pickle.loads(pickle.dumps(results))
    pd.testing.assert_frame_equal(pd.DataFrame(again), pd.DataFrame(results))
    assert again._repr_html_() == results._repr_html_()


def test_a_suite_file_and_keys_that_win(tmp_path, toys):
    (tmp_path / "suite.toml").write_text(
        f"plugins = [{toys!r}]\nmodels = ['toy-mean']\ndatasets = ['toy-data']\nseeds = 2\n"
    )
    found = api.run(
        tmp_path / "suite.toml", datasets="toy-data/dark", preprocessors="none", out=tmp_path
    )
    assert found[["category", "seed"]].to_numpy().tolist() == [["dark", 0], ["dark", 1]]


def test_data_by_name(tmp_path, toys, catalogue):
    root = catalogue.get("dataset", "toy-data")().build(tmp_path / "images")
    found = api.run(
        plugins=toys,
        datasets="folder",
        models="toy-mean",
        preprocessors="none",
        data={"folder": root},
        out=tmp_path / "out",
    )
    assert set(found["category"]) == {"dark", "light"}
    assert set(found["dataset"]) == {"folder"}


def test_a_failed_trial_is_a_row(tmp_path, toys):
    found = api.run(
        plugins=toys,
        datasets="toy-data/dark",
        models="toy-mean,toy-raises",
        preprocessors="none",
        out=tmp_path,
    )
    assert set(found["status"]) == {"ok", "failed"}
    assert "RuntimeError: the toy broke" in found._repr_html_()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda toys, out: api.run(out=out), "no plugins are named"),
        (lambda toys, out: api.run(plugins="nobody", out=out), "unknown plugin 'nobody'"),
        (lambda toys, out: api.run(plugins=toys, model="x", out=out), "did you mean 'models'?"),
        (lambda toys, out: api.run("none.toml", out=out), "'none.toml' does not exist"),
        (lambda toys, out: api.run(plugins=toys, device="tpu", out=out), "unknown device 'tpu'"),
        (lambda toys, out: api.leaderboard(out), "no results in"),
        (lambda toys, out: api.leaderboard(out, reported="nobody"), "no results in"),
    ],
)
def test_mistakes_are_the_commands(tmp_path, toys, call, message):
    with pytest.raises(UserError) as caught:
        call(toys, tmp_path / "none")
    assert message in str(caught.value)
    assert not (tmp_path / "none").exists()


def test_progress_and_what_a_run_took_are_printed(tmp_path, toys, capsys):
    asked = {"plugins": toys, "datasets": "toy-data/dark", "models": "toy-mean", "out": tmp_path}
    api.run(preprocessors="none", **asked)
    said = capsys.readouterr()
    assert said.err == ("[1/1] toy-data/dark · none · toy-mean · toy-map · seed 0: ok\n")
    assert re.fullmatch(rf"1 trial in \d+ s; results in {tmp_path}\n\n", said.out)
    api.run(preprocessors="none", **asked)
    said = capsys.readouterr()
    assert (said.err, said.out) == ("", f"1 of 1 trial is in {tmp_path} already\n")


def test_the_command_line_is_not_imported():
    code = "import sys, adbench_harness.api; print('adbench_harness.cli' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("accepted", [True, False])
def test_what_is_missing_is_fetched_if_its_license_is_accepted(
    tmp_path, toys, plugin_file, capsys, accepted
):
    archive = tmp_path / "zipped.zip"
    images = toy_module.ToyData().build(tmp_path / "images")
    with zipfile.ZipFile(archive, "w") as made:
        for path in (images / "dark").rglob("*.png"):
            made.write(path, path.relative_to(images))
    plugin = plugin_file(
        "zipped",
        f"""
from adbench_harness.types import Archive
from toys import ToyData

class Zipped(ToyData):
    name, license, page = "zipped", "CC0", "https://example.org"
    archives = (Archive({archive.as_uri()!r}),)

    def build(self, root):
        return None

@hookimpl
def adbench_datasets():
    return [Zipped]
""",
    )
    asked = {"plugins": [plugin, toys], "datasets": "zipped", "models": "toy-mean"}
    asked |= {"preprocessors": "none", "data": tmp_path / "data", "out": tmp_path / "out"}
    with pytest.raises(UserError, match="data set 'zipped' is not in"):
        api.run(**asked)
    if not accepted:
        with pytest.raises(UserError, match=r"zipped: license CC0, see https://.*; read"):
            api.run(**asked, fetch=True)
        assert not (tmp_path / "data").exists()
        return
    found = api.run(**asked, fetch=True, accept_license=True)
    assert set(found["dataset"]) == {"zipped"}
    assert set(found["status"]) == {"ok"}
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "zipped: license CC0, see https://example.org"
    assert told[1].startswith("zipped: zipped.zip is unverified")
    assert told[2] == f"zipped: {tmp_path / 'data' / 'zipped'}"


@pytest.mark.filterwarnings("ignore:install .ipywidgets.")
@pytest.mark.parametrize("widgets", [True, False])
def test_a_notebook_has_live_progress_where_it_can(monkeypatch, tmp_path, widgets):
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    monkeypatch.setattr(
        "adbench_harness.display.find_spec", lambda name: object() if widgets else None
    )
    for stored, live in ((0, widgets), (3, False)):
        with Display() as display:
            display.started(stored, 3, tmp_path)
            assert display._live is live
