"""Everything that needs a GPU, in less than eight minutes, without a network and without faiss.

``ADBENCH_REAL_DATA=FOLDER tests/gpu.sh RESULTS`` does four things one after the other. A step that
fails or takes too long is noted in RESULTS/summary.txt, and the next one goes on:

1. ``tests``: every test marked ``gpu``;
2. ``agreement``: every model on the GPU and again on the CPU (``agreement.py``);
3. ``bench``: the device benchmark of ``leaderboards/speed`` (``benchmarks/test_device.py``);
4. ``twostage``: as many steps of the paper's two-stage network on MVTec AD bottle as the remaining
   time allows. The next call continues from the last state in ``--state``, about 200 MB.

RESULTS is by default the variable OUT. FOLDER has ``data/mvtec_ad/bottle`` and ``weights`` with a
ResNet-18, 30 MB together. The harness need not be installed. Packages that this Python lacks are
taken from the wheels in the folder ADBENCH_WHEELS: usually pydantic, pydantic-core,
annotated-types, typing-inspection and platformdirs.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED = (
    *("torch", "torchvision", "numpy", "scipy", "cv2", "numba", "skimage", "sklearn", "pandas"),
    *("pluggy", "pydantic", "platformdirs", "psutil", "safetensors", "threadpoolctl", "filelock"),
    *("tabulate", "rich", "PIL", "jinja2", "matplotlib", "pytest", "hypothesis"),
    *("pytest_benchmark",),
)
"""Modules that are imported on the way; a step fails if it lacks one."""
STEPS = ("tests", "agreement", "bench", "twostage")
GRACE = 10.0
"""Seconds between the interrupt of a step that takes too long and its end."""


@dataclass(frozen=True)
class Step:
    """A command that may take a ``share`` of the time that is left, or what it ``lacks`` to run."""

    name: str
    command: Sequence[str]
    share: float
    lacks: str = ""


def main() -> int:
    """Returns 0 if no step failed; a step that used up its time did not fail if it can continue."""
    given = _arguments()
    deadline = time.monotonic() + 60 * given.minutes
    results = Path(given.results).resolve()
    results.mkdir(parents=True, exist_ok=True)
    summary = results / "summary.txt"
    summary.write_text("")
    with tempfile.TemporaryDirectory() as site:
        environment = _environment(Path(site))
        _note(summary, *_place(environment))
        codes = [
            _run(step, results, summary, environment, deadline) for step in _steps(given, results)
        ]
    _note(summary, *_training(given.state, results))
    return int(any(codes))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("results", nargs="?", default=os.environ.get("OUT"))
    parser.add_argument("--minutes", type=float, default=7.5)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only", nargs="+", choices=STEPS, default=STEPS, help="steps to do")
    parser.add_argument("--models", default="", help="models of the agreement (default: all)")
    parser.add_argument("--preset", default="paper", help="of the two-stage network")
    parser.add_argument(
        "--steps", type=int, default=20_000, help="of each of its stages (the paper's: 836,000)"
    )
    parser.add_argument("--dataset", default="mvtec_ad/bottle")
    parser.add_argument(
        "--state", type=Path, default=ROOT / "build" / "gpu", help="where the training continues"
    )
    given = parser.parse_args()
    if not given.results:
        parser.error("name the folder for the results, or set OUT")
    return given


# ---------------------------------------------------------------- surroundings


def _environment(site: Path) -> dict[str, str]:
    """The variables of every step, with the harness, its plugins and the wheels importable."""
    wheels = os.environ.get("ADBENCH_WHEELS")
    for wheel in sorted(Path(wheels).glob("*.whl")) if wheels else ():
        shutil.unpack_archive(wheel, site, "zip")
    _register(site)
    paths = [ROOT / "harness", ROOT / "plugins", ROOT / "tests", site]
    usual = filter(None, [os.environ.get("PYTHONPATH")])
    return {
        "OMP_NUM_THREADS": str(min(4, os.cpu_count() or 1)),
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*map(str, paths), *usual]),
        "PYTHONUNBUFFERED": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def _register(site: Path) -> None:
    """The metadata by which the plugins are found, as an installation would write it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    code = (ROOT / "harness" / "adbench_harness" / "__init__.py").read_text()
    version = code.partition('__version__ = "')[2].partition('"')[0]
    info = site / f"adbench_harness-{version}.dist-info"
    info.mkdir()
    head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {version}\n"
    extras = (f"Provides-Extra: {name}\n" for name in project["optional-dependencies"])
    (info / "METADATA").write_text(head + "".join(extras))
    points = (f"{name} = {place}\n" for name, place in project["entry-points"]["adbench"].items())
    (info / "entry_points.txt").write_text("[adbench]\n" + "".join(points))


def _place(environment: dict[str, str]) -> list[str]:
    """What the steps will find: Python, torch, the GPU, and what is missing."""
    ask = (
        "import importlib.util, json, sys, torch; gpu = torch.cuda.is_available();"
        "print(json.dumps([torch.__version__, torch.cuda.get_device_name() if gpu else None,"
        f" [m for m in {NEEDED!r} if importlib.util.find_spec(m) is None]]))"
    )
    python = f"Python {sys.version.split()[0]}"
    try:
        said = subprocess.run(
            [sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True
        ).stdout
    except subprocess.CalledProcessError as error:
        return [f"{python}; torch cannot be imported: {error.stderr.strip().splitlines()[-1]}"]
    torch, gpu, missing = json.loads(said)
    lines = [f"{python}, torch {torch}, {gpu or 'no GPU'}"]
    if missing:
        lines.append(f"missing, so that steps may fail: {', '.join(missing)} (ADBENCH_WHEELS)")
    return lines


# ---------------------------------------------------------------- steps


def _steps(given: argparse.Namespace, results: Path) -> list[Step]:
    python, tests = sys.executable, ROOT / "tests"
    pytest = (python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist")
    no_pytest = "" if importlib.util.find_spec("pytest") else "pytest is not installed"
    marked = [str(p) for p in sorted(tests.rglob("test_*.py")) if "mark.gpu" in p.read_text()]
    marked = [path for path in marked if not path.endswith("test_gpu.py")]
    real = os.environ.get("ADBENCH_REAL_DATA")
    needs_data = given.dataset.startswith("mvtec_ad/")
    command = [python, "-c", "import sys; from adbench_harness.cli import main; sys.exit(main())"]
    command += ["run", "--plugins", "twostage", "--datasets", given.dataset, "--preprocessors"]
    command += ["none", "--augmenters", "perlin-superpixel", "--scorers", "map"]
    command += ["--models", f"twostage:preset={given.preset}:steps={given.steps}"]
    command += ["--device", given.device, "--out", str(given.state)]
    command += ["--data", f"{real}/data"] if real else []
    steps = [
        Step("tests", [*pytest, "-m", "gpu", *marked], 0.25, no_pytest),
        Step(
            "agreement",
            [
                *(python, str(tests / "agreement.py"), given.device),
                *filter(None, given.models.split(",")),
            ],
            0.3,
        ),
        Step(
            "bench",
            [
                *(*pytest, str(tests / "benchmarks" / "test_device.py"), "--benchmark-only"),
                *("--speed-table", str(results / "speed.md")),
            ],
            0.5,
            no_pytest,
        ),
        Step(
            "twostage",
            command,
            1.0,
            "" if real or not needs_data else "ADBENCH_REAL_DATA names no folder",
        ),
    ]
    return [step for step in steps if step.name in given.only]


def _run(
    step: Step, results: Path, summary: Path, environment: dict[str, str], deadline: float
) -> int:
    """Run a step within its time; its output is in RESULTS/NAME.txt. Returns 1 if it failed."""
    if step.lacks:
        _note(summary, f"{step.name}: left out, since {step.lacks}")
        return 1
    start = time.monotonic()
    limit = (deadline - start - GRACE) * step.share
    with (results / f"{step.name}.txt").open("w") as log:
        log.flush()
        process = subprocess.Popen(
            step.command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(max(limit, 1.0))
            ended = "ok" if code == 0 else f"failed with exit code {code}"
        except subprocess.TimeoutExpired:
            _end(process)
            ended = f"ended after its limit of {limit:.0f} s"
            code = 0 if step.name == "twostage" else 1
    said = (results / f"{step.name}.txt").read_text(errors="replace").split("\n")
    last = next((line for line in reversed(said) if line.strip()), "")
    _note(summary, f"{step.name}: {ended}, {time.monotonic() - start:.0f} s; {last[:200]}")
    return int(code != 0)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt a step and, if that is not enough, kill it with everything that it started."""
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _training(state: Path, results: Path) -> list[str]:
    """How far the training is; its result is copied if it is done."""
    if any(state.glob("trials/*.json")):
        shutil.make_archive(str(results / "twostage"), "zip", state / "trials")
    saved = sorted(state.glob("checkpoints/*.pt"), key=lambda path: path.stat().st_mtime)
    if not saved:
        return []
    import torch

    found = torch.load(saved[-1], map_location="cpu", weights_only=True)
    place = found["state"]
    reached = {"stage": place["stage"] + 1, "step": place["step"], "curves": found["curves"]}
    (results / "twostage.json").write_text(json.dumps(reached))
    return [f"twostage: stage {reached['stage']} has done {reached['step']} steps, in {saved[-1]}"]


def _note(summary: Path, *lines: str) -> None:
    with summary.open("a") as file:
        for line in lines:
            print(line, flush=True)
            file.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
