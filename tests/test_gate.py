"""The gate on PatchCore with planted mistakes, as a file that stands in for the plugin."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from adbench_harness.cli import main
from adbench_harness.results.store import Store

ROOT = Path(__file__).parents[1]
SUITE = ROOT / "leaderboards/ci/suite.toml"
MODEL = (ROOT / "plugins/adbench_patchcore/model.py").read_text()
HOOKS = """

from adbench_harness.hookspecs import hookimpl
from adbench_patchcore.scorers import NearestNeighbour


@hookimpl
def adbench_models():
    return [PatchCore]


@hookimpl
def adbench_scorers():
    return [NearestNeighbour]
"""
TITLE = "mini/grass · none · patchcore(resize=128,crop=112) · nn · seed 0"
# The suite's smallest part: one category, model and score, at half the size.
PART = (
    *("--datasets", "mini/grass", "--models", "patchcore:resize=128:crop=112", "--scorers", "nn"),
    *("--preprocessors", "none", "--device", "cpu"),
)
PICKED = """greedy_coreset(
                memory, count, tools.generator, self.projection, progress=tools.progress
            )"""
FILLED = """memory[filled : filled + len(patches)] = patches  # M of eq. 4
            filled += len(patches)
"""


def write_suite(board: Path) -> None:
    """The CI's own, but for times: how long one trial takes among other tests says nothing."""
    (board / "suite.toml").write_text(f"{SUITE.read_text()}noise = 1000\n")


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PatchCore's accepted results, in a board with the suite's tolerance."""
    board = tmp_path_factory.mktemp("board")
    write_suite(board)
    out = str(board / "results")
    assert main(["run", str(SUITE), "--plugins", "patchcore", *PART, "--out", out]) == 0
    return board


@pytest.fixture
def gate(
    baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., SimpleNamespace]:
    """What the gate says of PatchCore's source with ``old`` replaced by ``new``."""

    def compare(*changes: tuple[str, str]) -> SimpleNamespace:
        text = MODEL
        for old, new in changes:
            assert text.count(old) == 1
            text = text.replace(old, new)
        plugin, out, report = (tmp_path / name for name in ("planted.py", "new", "report.json"))
        plugin.write_text(text + HOOKS)
        options = ["--plugins", str(plugin), *PART, "--out", str(out)]
        assert main(["run", str(SUITE), *options]) == 0
        capsys.readouterr()
        code = main(["compare", str(baseline), str(out), "--json", str(report)])
        (trial,) = json.loads(report.read_text())["trials"]
        differences = {one["metric"]: one for one in trial["differences"]}
        lines = capsys.readouterr().out.splitlines()
        return SimpleNamespace(code=code, lines=lines, trial=trial, differences=differences)

    return compare


def test_this_machine_reproduces_the_accepted_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_suite(tmp_path)
    accepted = Store(SUITE.parent / "results")
    (tmp_path / "results/trials").mkdir(parents=True)
    for result in accepted.read():
        if (result.trial.category, result.trial.preprocessor) == ("grass", "none"):
            for path in accepted.trials.glob(f"{result.trial.id}.*"):
                shutil.copy(path, tmp_path / "results/trials")
    part = ("--datasets", "mini/grass", "--preprocessors", "none", "--device", "cpu")
    assert main(["run", str(SUITE), *part, "--out", str(tmp_path / "new")]) == 0
    capsys.readouterr()
    assert main(["compare", str(tmp_path), str(tmp_path / "new")]) == 0
    assert capsys.readouterr().out == "4 as good\n"


def line(name: str, one: dict[str, float], why: str) -> str:
    return f"  {name} {100 * one['old']:.2f} → {100 * one['new']:.2f} ({why})"


def test_a_dropped_layer_is_worse(gate: Callable[..., SimpleNamespace]) -> None:
    layers = "layers[layer] for layer in self.feature_requests[0].layers]"
    found = gate((layers, layers.replace("layers]", "layers[1:]]")))
    assert found.code == 1
    assert f"worse: {TITLE}" in found.lines
    assert found.lines[0] == "1 worse"
    aupro = found.differences["aupro"]
    assert aupro["new"] < aupro["old"] - 0.02
    assert line("AUPRO", aupro, "0.10 allowed") in found.lines
    # Half the bank and half the dimensions are no excuse, but are told.
    assert found.differences["params"]["verdict"] == "better"


def test_the_first_patches_in_place_of_a_coreset_are_worse(
    gate: Callable[..., SimpleNamespace],
) -> None:
    found = gate((PICKED, "torch.arange(count)"))
    assert found.code == 1
    assert f"worse: {TITLE}" in found.lines
    auroc = found.differences["image_auroc"]
    assert auroc["p"] < 0.05
    assert line("image AUROC", auroc, f"0.10 allowed, paired test p = {auroc['p']:.2g}") in (
        found.lines
    )
    # It is as large and as fast as the right one: only quality can tell.
    assert found.differences["params"]["verdict"] == found.differences["flops"]["verdict"]
    flips = found.trial["images"]["flips"]
    threshold = found.trial["images"]["threshold"]
    assert f"  {len(flips)} flipped at the threshold {threshold:.4g}:" in found.lines
    first = flips[0]
    assert re.fullmatch(r"grass/test/\w+/\d{3}\.png", first["path"])
    assert (first["old"] < threshold) == (first["was"] == "normal") == (first["now"] != "normal")


def test_a_refactoring_that_changes_nothing_passes(gate: Callable[..., SimpleNamespace]) -> None:
    found = gate(
        ("        memory: Tensor | None = None\n        filled = 0\n", "        found = []\n"),
        (
            """            if memory is None:
                per_image = len(patches) // len(batch)
                memory = patches.new_empty(len(train) * per_image, patches.shape[1])
            """
            + FILLED,
            "            found.append(patches)\n",
        ),
        (
            '        assert memory is not None, "a training set has at least one image"\n',
            "        memory = torch.cat(found)\n",
        ),
    )
    assert (found.code, found.lines) == (0, ["1 as good"])
    assert found.trial["images"]["flips"] == []
