from __future__ import annotations

import json
from importlib.metadata import version

import adbench_padim
from adbench_harness.cli import main
from adbench_harness.planning.plugins import KINDS, available, load


def test_plugins_come_from_metadata_alone(adbench):
    done = adbench("list")
    assert done.code == 0
    assert not done.heavy
    for name in available():
        assert f"\n{name} " in done.out
    rows = json.loads(adbench("list", "--json").out)
    assert all(row["summary"] for row in rows if row["distribution"] == "adbench-harness")
    (padim,) = (row for row in rows if row["plugin"] == "padim")
    assert padim["summary"] == adbench_padim.__doc__.splitlines()[0]


def test_json_is_for_programs(adbench):
    done = adbench("list", "--json")
    assert not done.heavy
    rows = json.loads(done.out)
    assert {row["plugin"] for row in rows} == set(available())
    ours = [row for row in rows if row["distribution"] == "adbench-harness"]
    assert {row["version"] for row in ours} == {version("adbench-harness")}


def test_components_of_the_plugins_asked_for(adbench, toys):
    done = adbench("list", "--components", "--json", "--plugins", f"patchcore, {toys}")
    assert done.code == 0, done.err
    rows = json.loads(done.out)
    expected = load(["patchcore", toys]).offers
    assert {(row["kind"], row["name"], row["plugin"]) for row in rows} == {
        (kind, offer.name, offer.plugin) for kind in KINDS for offer in expected[kind].values()
    }
    assert all(row["summary"] for row in rows)


def test_components_of_one_kind(capsys, toys, error):
    for kind in ("models", "model"):
        assert main(["list", kind, "--json", "--plugins", toys]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert {row["name"] for row in rows} == set(load([toys]).offers["model"])
    said = error("list", "modles", "--plugins", toys)
    assert "no kind of component 'modles' (did you mean 'models'?); choose from datasets" in said


def test_a_broken_plugin_that_nobody_asked_for_is_left_out(adbench, tmp_path):
    broken = tmp_path / "site"
    (broken / "adbench_broken.py").write_text("raise RuntimeError('at home')")
    metadata = broken / "broken-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[adbench]\nbroken = adbench_broken\n")
    assert "\nbroken " in adbench("list").out
    done = adbench("show", "nn")
    assert done.code == 0
    assert done.out.startswith("scorer nn:")
    assert done.err == (
        "adbench: left out: plugin 'broken' of broken 1.0 cannot be imported: RuntimeError: "
        "at home; fix it or leave it out of --plugins\n"
    )
    asked = adbench("run", "--plugins", "broken")
    assert asked.code == 2
    assert asked.err.startswith("adbench: error: plugin 'broken' of broken 1.0 cannot be imported")


def test_a_plugin_without_its_extra_is_left_out_without_a_word(adbench, tmp_path):
    site = tmp_path / "site"
    (site / "adbench_lacking.py").write_text(
        "from adbench_harness.errors import require\nrequire('no_such_package')"
    )
    metadata = site / "lacking-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: lacking\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[adbench]\nlacking = adbench_lacking\n")
    done = adbench("show", "nn")
    assert (done.code, done.err) == (0, "")
    asked = adbench("run", "--plugins", "lacking")
    assert asked.code == 2
    assert asked.err.endswith("pip install 'adbench-harness[no_such_package]'\n")
