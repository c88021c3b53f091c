"""Networks of somebody else's, in a file each, checked and run from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
needs_lightning = pytest.mark.skipif(
    find_spec("lightning") is None, reason="lightning is not installed"
)


@pytest.fixture(scope="module")
def adbench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")

    def run(*arguments):
        code = "import sys; from adbench_harness.cli import main; sys.exit(main())"
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=folder,
            env={**os.environ, "ADBENCH_CACHE": str(folder / "cache"), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
        )

    run.folder = folder
    return run


@pytest.mark.parametrize(
    ("plugin", "components"),
    [
        (
            "networks",
            [
                "model plain-autoencoder",
                "model plain-discriminator",
                "model plain-student",
                "backbone plain-convnet",
            ],
        ),
        pytest.param("lightning_network", ["model lightning-autoencoder"], marks=needs_lightning),
    ],
)
def test_it_passes_every_check(adbench, plugin, components):
    done = adbench("check", plugin, "--plugins", str(HERE / f"{plugin}.py"))
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = [line.split("  ") for line in done.stdout.splitlines() if "  " in line]
    checked = {words[0] for words in outcomes if words[-1].strip() == "ok"}
    assert checked == set(components)
    for component in components:
        if component.startswith("model"):
            for check in ("reload_predicts_the_same", "planted_blob_scores_above_normal"):
                assert [component, check, "ok"] in [[w.strip() for w in o if w] for o in outcomes]


def ran(adbench, plugin):
    """The results of the plugin's models on mini/brick, by model."""
    out = f"results-{plugin}"
    plugins = ("--plugins", str(HERE / f"{plugin}.py"))
    done = adbench("run", *plugins, "--datasets", "mini/brick", "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    stored = [json.loads(path.read_text()) for path in (adbench.folder / out).glob("trials/*.json")]
    return {result["trial"]["model"]["name"]: result for result in stored}


def test_networks_run_and_their_parameters_are_counted(adbench):
    results = ran(adbench, "networks")
    params = {name: result["metrics"]["params"] for name, result in results.items()}
    convnet = (3 * 49 + 1) * 24 + 2 * 24 + (24 * 9 + 1) * 32 + 2 * 32
    width = 24 + 32
    assert params == {
        "plain-autoencoder": (3 * 16 + 1) * 16
        + 2 * 16
        + (16 * 4 + 1) * 4
        + (4 * 4) * 16
        + 16
        + (16 * 16) * 3
        + 3,
        "plain-discriminator": convnet + (width + 1) * width + (width + 1) * 32 + 33,
        "plain-student": 2 * convnet,
    }
    assert {result["status"] for result in results.values()} == {"ok"}
    assert results["plain-autoencoder"]["metrics"]["pixel_auroc"] > 0.6


@needs_lightning
def test_a_lightning_module_runs_and_its_parameters_are_counted(adbench):
    (result,) = ran(adbench, "lightning_network").values()
    assert result["status"] == "ok"
    assert result["metrics"]["params"] == (3 * 64 + 1) * 16 + 17 * 4 + 4 * 3 * 64 + 3
