from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from adbench_harness import session
from adbench_harness.cli import main
from adbench_harness.errors import UserError
from adbench_harness.planning import parameters, plugins
from adbench_harness.planning.grammar import Wanted
from adbench_harness.planning.locations import Locations
from adbench_harness.results.store import Store
from installed import in_tree

PROBES = str(Path(__file__).parent.with_name("probes.py"))
COSTS = {"fit_seconds", "ms_per_image", "ms_per_image_batched", "peak_mb"}
TOYS_ALONE = ("--models", "toy-mean", "--scorers", "toy-map", "--preprocessors", "none")


def outcome(folder):
    """Everything of each trial that must not depend on when and how it was run."""
    store = Store(Path(folder))
    return {
        result.trial.id: (
            result.status,
            {name: value for name, value in result.metrics.items() if name not in COSTS},
            {name: values.tobytes() for name, values in store.images(result.trial).items()},
        )
        for result in store.read()
    }


@pytest.fixture
def ran(capsys, monkeypatch):
    """Runs the command in this process; its code and what it printed."""
    monkeypatch.setenv("COLUMNS", "400")

    def run(*arguments):
        capsys.readouterr()
        code = main(["run", *map(str, arguments)])
        return code, capsys.readouterr()

    return run


# ---------------------------------------------------------------- as a process


def test_a_run_without_fetch_asks_no_network_and_shows_a_table(adbench, toys, tmp_path):
    options = ("--plugins", toys, "--models", "toy-mean,toy-raises", "--scorers", "toy-map")
    done = adbench("run", *options, "--preprocessors", "none", "--out", "first")
    assert done.code == 1, done.err
    assert "Traceback" not in done.err
    assert "toy-mean" in done.out
    assert "image" in done.out
    assert "4 trials in " in done.out
    # Two workers: either category may be the first.
    told = r"\[\d/4\] toy-data/(dark|light) · none · (toy-mean|toy-raises) · toy-map · seed 0: (.*)"
    found = [re.fullmatch(told, line).groups() for line in done.err.splitlines()[:4]]
    assert {line[:2] for line in found} == {
        (category, model) for category in ("dark", "light") for model in ("toy-mean", "toy-raises")
    }
    for _, model, end in found:
        assert end.startswith("ok" if model == "toy-mean" else "failed in fit")
    assert "RuntimeError: the toy broke" in done.out
    assert len(outcome(tmp_path / "first")) == 4

    again = adbench("run", *options, "--preprocessors", "none", "--out", "first")
    assert "2 of 4 trials are in first already" in again.out
    assert again.code == 1


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_that_was_cut_off_goes_on_to_the_same_results(adbench, toys, tmp_path, ran, blow):
    options = [
        *("run", "--plugins", f"{toys},{PROBES}", "--datasets", "toy-data", "--preprocessors"),
        *("none", "--models", "probe-slow:fit=0.3,toy-mean", "--scorers", "toy-map,probe-random"),
        *("--seeds", "3", "--device", "cpu", "--metrics", "image_auroc,pixel_auroc,aupro"),
    ]
    trials = tmp_path / "out" / "trials"
    process = adbench.start(*options, "--out", "out")
    deadline = time.monotonic() + 60
    while len(list(trials.glob("*.json"))) < 3:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(blow)
    _, err = process.communicate(timeout=60)
    if blow != signal.SIGKILL:
        assert process.returncode == 128 + blow
        last = err.splitlines()[-1]
        assert last == "adbench: interrupted; run the same command again to continue"
        assert "Traceback" not in err
    finished = {path: path.stat().st_mtime_ns for path in trials.glob("*.json")}
    assert 3 <= len(finished) < 24

    code, said = ran(*options[1:], "--out", tmp_path / "out")
    assert code == 0
    assert f"{len(finished)} of 24 trials are in {tmp_path / 'out'} already" in said.out
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    ran(*options[1:], "--out", tmp_path / "undisturbed")
    assert len(outcome(tmp_path / "out")) == 24
    assert outcome(tmp_path / "out") == outcome(tmp_path / "undisturbed")
    _, said = ran(*options[1:], "--out", tmp_path / "out")
    assert "24 of 24 trials are in " in said.out


OBSERVER = """
import os, signal
from adbench_harness.hookspecs import hookimpl

class Finalised:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

@hookimpl
def adbench_trial_finished(result):
    Finalised()
"""


def test_an_interrupt_that_python_drops_is_not_lost(adbench, toys, tmp_path):
    (tmp_path / "observer.py").write_text(OBSERVER)
    models = ("--models", "toy-mean", "--scorers", "toy-map", "--preprocessors", "none")
    plugins = f"{toys},./observer.py"
    done = adbench("run", "--plugins", plugins, *models, "--device", "cpu", "--out", "out")
    assert "Exception ignored in" in done.err
    assert done.code == 130
    assert len(list((tmp_path / "out" / "trials").glob("*.json"))) == 1


# ---------------------------------------------------------------- planning


def test_explain_prints_the_plan_and_does_nothing(ran, toys, tmp_path):
    options = ("--plugins", toys, "--models", "toy-mean,toy-classes", "--seeds", "2")
    code, said = ran(*options, "--out", tmp_path / "out", "--explain")
    assert code == 0
    lines = said.out.splitlines()
    # 2 categories x (none, toy-dim) x toy-map x 2 seeds
    assert lines[0] == "8 trials, 8 to do, in 4 bundles"
    assert "toy-data/dark · toy-dim" in lines
    assert re.search(
        r"^  [0-9a-f]{16}  toy-mean · toy-map · seed 1  \[none\]$", said.out, re.MULTILINE
    )
    assert "toy-classes: supports classification, not unsupervised" in said.out
    assert not (tmp_path / "out").exists()

    ran(*options, "--out", tmp_path / "out", "--datasets", "toy-data/dark")
    _, said = ran(*options, "--out", tmp_path / "out", "--explain")
    assert said.out.startswith("8 trials, 4 to do, in 2 bundles\n")


def test_a_suite_file_says_what_flags_say(ran, toys, tmp_path):
    suite = tmp_path / "suite.toml"
    suite.write_text(
        f"""
plugins = ["{toys}"]
datasets = ["toy-data/dark"]
models = ["toy-mean"]
scorers = ["toy-map:pool=mean"]
preprocessors = ["none"]
seeds = 2
[evaluation]
size = 24
[set]
"toy-mean.gain" = 2.0
"""
    )
    flags = (
        *("--plugins", toys, "--datasets", "toy-data/dark", "--models", "toy-mean", "--scorers"),
        *("toy-map:pool=mean", "--preprocessors", "none", "--seeds", "2", "--eval-size", "24"),
        *("--set", "toy-mean.gain=2"),
    )
    written, flagged = (ran(*what, "--explain")[1].out for what in ([suite], flags))
    assert written == flagged
    assert "toy-mean(gain=2.0) · toy-map(pool=mean) · seed 1" in written
    over = ran(suite, "--seeds", "5,7", "--explain")[1].out
    assert "seed 7" in over
    assert "seed 1 " not in over


def test_a_grid_of_a_parameter_is_an_axis(ran, toys):
    _, said = ran("--plugins", toys, *TOYS_ALONE, "--set", "toy-mean.gain=1,2,3", "--explain")
    assert said.out.startswith("6 trials, 6 to do")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--seeds", "many"), "--seeds many: write a count (7) or a list (3,5)"),
        (("--seeds", "0"), "command line: 'seeds': "),
        (("--set", "gain"), "--set gain: write COMPONENT.PARAMETER=VALUE"),
        (("--set", "toy-mean.gian=2"), "has no parameter 'gian' (did you mean 'gain'?)"),
        (("--models", "toy-mena"), "unknown model 'toy-mena' (did you mean 'toy-mean'?)"),
        (("--models", "toy-mean:gain=much"), "parameter 'gain' cannot be 'much'"),
        (("--datasets", "toy-data/drak"), "no category 'drak' (did you mean 'dark'?)"),
        (("--metrics", "auroc"), "unknown metric 'auroc'"),
        (("--recipe", "best"), "unknown recipe 'best'"),
        (("--device", "gpu"), "unknown device 'gpu'; write auto, cpu, cuda or cuda:N"),
        (("--device", "meta"), "device 'meta' is not supported"),
        (("--device", "cuda:97"), "device 'cuda:97' is not available"),
        (
            ("--data", "toy-data=/nowhere"),
            "'/nowhere' is not a folder; correct --data toy-data=DIR",
        ),
        (("--weights", "/nowhere", "--plugins", "patchcore"), "weights '/nowhere' not found"),
        (("--eval-size", "0"), "'evaluation.size': input should be greater than 0"),
        (("--out", "/proc/none"), "--out: '/proc/none/trials' cannot be made"),
    ],
)
def test_mistakes_are_one_line(error, toys, options, line):
    assert line in error("run", "--plugins", toys, "--datasets", "toy-data/dark", *options)


@pytest.mark.parametrize(
    ("suite", "line"),
    [
        ("plugins = 3", "'plugins': input should be a valid list"),
        ("plugins = [3]", "'plugins.0': input should be a valid string"),
        ("plugin = ['x']\nplugins = ['x']", "unknown key 'plugin' (did you mean 'plugins'?)"),
        ("plugins = [", "cannot be read: "),
        ("plugins = ['patchcore']\n[evaluation]\nsizes = 3", "unknown key 'evaluation.sizes'"),
    ],
)
def test_mistakes_in_a_suite_file_are_one_line(error, tmp_path, suite, line):
    file = tmp_path / "suite.toml"
    file.write_text(suite)
    said = error("run", file)
    assert str(file) in said
    assert line in said


def test_a_mistake_is_laid_to_the_file_or_to_the_flag(error, toys, tmp_path):
    file = tmp_path / "suite.toml"
    file.write_text(f"plugins = ['{toys}']\nset = 3")
    assert f"{file}: 'set': " in error("run", file, "--set", "toy-mean.gain=2")
    file.write_text(f"plugins = ['{toys}']")
    assert "error: command line: 'evaluation.size': " in error("run", file, "--eval-size", "0")


def test_an_unwritable_place_is_refused_before_anything_runs(error, toys, tmp_path):
    (tmp_path / "out").write_text("")
    line = error("run", "--plugins", toys, *TOYS_ALONE, "--out", tmp_path / "out")
    assert f"--out: '{tmp_path / 'out' / 'trials'}' cannot be made" in line


# ---------------------------------------------------------------- running


def test_results_are_kept_for_others_to_read(ran, toys, tmp_path):
    options = ("--keep-maps", "--per-category", "--out", tmp_path)
    code, said = ran("--plugins", toys, *TOYS_ALONE, *options)
    assert code == 0
    over_all, per_category = said.out.split("scores in %")[:2]
    assert "light" not in over_all
    assert "light" in per_category
    files = sorted(path.name for path in (tmp_path / "trials").iterdir())
    assert len(files) == 6
    assert {name.partition(".")[2] for name in files} == {"json", "npz", "maps.npz"}
    content = json.loads((tmp_path / "trials" / files[0]).read_text())
    assert content["id"] == files[0].partition(".")[0]
    assert not (tmp_path / "checkpoints").exists()


def test_observers_are_told_and_one_that_fails_stops_nobody(ran, toys, tmp_path, plugin_file):
    def observer(name, body, argument="result"):
        hook = f"\n@hookimpl\ndef adbench_trial_finished({argument}):\n    {body}\n"
        return plugin_file(name, hook)

    seen = tmp_path / "seen"
    watching = observer("watching", f"open({str(seen)!r}, 'a').write(result.trial.id + '\\n')")
    broken = observer("broken", "raise ConnectionError('tracker is down')")
    also = observer("also", f"open({str(seen)!r}, 'a').write('!')", argument="")
    given = f"{watching},{broken},{also},{toys}"
    code, said = ran("--plugins", given, *TOYS_ALONE, "--out", tmp_path / "out")
    assert code == 0
    assert said.err.count("adbench: observer broken: ConnectionError: tracker is down") == 2
    told = seen.read_text()
    assert told.count("!") == 2
    assert set(told.replace("!", "").split()) == set(outcome(tmp_path / "out"))


def test_a_failed_trial_is_tried_again(ran, toys, tmp_path, monkeypatch):
    options = ("--plugins", toys, *TOYS_ALONE, "--datasets", "toy-data/dark", "--out", tmp_path)
    monkeypatch.setenv("ADBENCH_CACHE", str(tmp_path / "cache"))
    ran("--plugins", toys, "--explain")
    image = tmp_path / "cache/data/toy-data/dark/test/spot/1.png"
    sound = image.read_bytes()
    image.write_bytes(b"no picture")
    code, said = ran(*options)
    assert code == 1
    assert "cannot be decoded as an image" in said.out
    image.write_bytes(sound)
    code, said = ran(*options)
    assert code == 0
    assert "already" not in said.out


def test_features_of_another_precision_are_rows_of_their_own(ran, adbench, folder, tmp_path):
    asked = ("--plugins", "patchcore", *folder, "--models", "patchcore:resize=64:crop=56")
    asked += ("--scorers", "nn", "--out", tmp_path / "out")
    for precision in ("float32", "bfloat16"):
        code, said = ran(*asked, "--precision", precision)
        assert code == 0, said.err
        assert "already" not in said.out
    assert "efficientnet_lite0(precision=bfloat16)" in said.out
    table = adbench("leaderboard", tmp_path / "out", "--rows", "backbone").out
    assert "efficientnet_lite0(precision=bfloat16)" in table
    assert len([line for line in table.splitlines() if "efficientnet_lite0" in line]) == 2


def test_notes_say_which_backbone_stands_in(ran, folder):
    code, said = ran("--plugins", "patchcore", *folder, "--explain")
    assert code == 0
    assert said.out.startswith(
        "backbone: efficientnet_lite0, since the weights of patchcore's own "
    )
    assert "'adbench weights fetch wide_resnet50_2' downloads them" in said.out
    assert "[efficientnet_lite0]" in said.out


NETWORK = """
from torch import nn
from adbench_harness.types import AnomalyMap, InputSpec, Level, Outputs

class Network(nn.Module):
    name, summary, version = "network", "A network.", 1
    emits, input = frozenset({AnomalyMap}), InputSpec(32, None)

    def fit(self, train, tools):
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.weight = 0.5

    def predict(self, batch):
        maps = self.weight * self.features(batch.images).mean(1)
        return Outputs((32, 32), AnomalyMap((Level(maps),)))

@hookimpl
def adbench_models(): return [Network]
"""


def test_an_ordinary_network_runs(ran, toys, tmp_path, plugin_file):
    given = f"{toys},{plugin_file('network', NETWORK)}"
    options = ("--scorers", "toy-map", "--preprocessors", "none", "--datasets", "toy-data/dark")
    code, said = ran("--plugins", given, "--models", "network", *options, "--out", tmp_path / "out")
    assert code == 0, said.out + said.err
    ((status, metrics, _),) = outcome(tmp_path / "out").values()
    assert status == "ok"
    assert "pixel_auroc" in metrics


# ---------------------------------------------------------------- what is broken

BROKEN = """
import os
from toys import ToyData, ToyModel, ToyScorer

class Mine(ToyModel):
    name = "mine"

    @property
    def input(self):
        raise KeyError("two\\nlines")

class Refuses(ToyModel):
    name = "refuses"

    def __init__(self, *, size: int = 3):
        if size != 3:
            raise ValueError("only 3 will do")

class Score(ToyScorer):
    name = "score"

    def __init__(self):
        if "BROKEN" in os.environ:
            raise RuntimeError("no scorer today")
        super().__init__()

class Data(ToyData):
    name = "data"

    def samples(self, root, category, split_seed):
        if category == "dark":
            raise RuntimeError("no light")
        return super().samples(root, category, split_seed)

@hookimpl
def adbench_models(): return [Mine, Refuses]

@hookimpl
def adbench_scorers(): return [Score]

@hookimpl
def adbench_datasets(): return [Data]
"""
ALONE = ("--scorers", "toy-map", "--preprocessors", "none", "--device", "cpu", "--out", "out")


@pytest.fixture
def broken(adbench, toys, plugin_file):
    """Runs the command as a process with the toys and components that are broken."""
    path = plugin_file("mine", BROKEN)

    def run(*arguments, plugins=(), **environment):
        given = ",".join((toys, path, *plugins))
        tests = str(Path(toys).parent)
        inherited = adbench.environment["PYTHONPATH"]
        environment["PYTHONPATH"] = f"{inherited}{os.pathsep}{tests}"
        done = adbench("run", "--plugins", given, *ALONE, *arguments, **environment)
        assert "Traceback" not in done.out + done.err
        return done

    return run


def statuses(folder):
    """The status of each stored trial by its category, model and scorer."""
    trials = [(r.trial, r.status) for r in Store(folder).read()]
    return {
        (f"{t.dataset.name}/{t.category}", t.model.name, t.scorer.name): status
        for t, status in trials
    }


def test_a_broken_component_costs_its_own_rows(broken, tmp_path):
    axes = ("--models", "mine,toy-mean", "--datasets", "toy-data,data")
    done = broken(*axes)
    assert done.code == 1
    assert statuses(tmp_path / "out") == {
        ("toy-data/dark", "mine", "none"): "failed",
        ("toy-data/light", "mine", "none"): "failed",
        ("toy-data/dark", "toy-mean", "toy-map"): "ok",
        ("toy-data/light", "toy-mean", "toy-map"): "ok",
        ("data/dark", "mine", "none"): "failed",
        ("data/light", "mine", "none"): "failed",
        ("data/dark", "toy-mean", "toy-map"): "failed",
        ("data/light", "toy-mean", "toy-map"): "ok",
    }
    failed = [line for line in done.out.splitlines() if line.startswith("failed: ")]
    listing = "data set 'data', category 'dark': listing its samples failed: RuntimeError: no light"
    assert any("toy-data · mine" in line and ": plan: KeyError: 'two" in line for line in failed)
    assert any(f"data · toy-mean · toy-map [dark]: plan: {listing}" in line for line in failed)
    assert "toy-data/dark · none · mine · none · seed 0: failed in plan" in done.err
    (result,) = [
        r
        for r in Store(tmp_path / "out").read()
        if r.trial.title == "toy-data/dark · none · mine · none · seed 0"
    ]
    (failure,) = result.failures
    assert failure.stage == "plan"
    assert 'raise KeyError("two\\nlines")' in failure.traceback
    assert result.provenance["plugins"]["mine"].startswith("mine.py ")
    assert "device" not in result.provenance

    again = broken(*axes)
    assert again.code == 1
    # 4 of the toys' data, of which 2 are sound, and 4 of the other, of which 1 is.
    assert "3 of 8 trials are in out already" in again.out
    assert again.err.count("failed in plan") == 5


def test_nothing_but_what_is_broken_is_a_table_of_failures(broken):
    done = broken("--models", "mine", "--datasets", "toy-data")
    assert done.code == 1
    assert "2 trials in " in done.out
    assert re.search(r"^failed: mine \[dark, light\]: plan: KeyError", done.out, re.MULTILINE)


def test_a_failed_row_is_replaced_when_the_component_is_fixed(broken, tmp_path):
    axes = ("--models", "toy-mean", "--datasets", "toy-data/dark", "--scorers", "score")
    done = broken(*axes, BROKEN="1")
    assert done.code == 1
    assert "plan: RuntimeError: no scorer today" in done.out
    done = broken(*axes)
    assert done.code == 0, done.out + done.err
    assert statuses(tmp_path / "out") == {("toy-data/dark", "toy-mean", "score"): "ok"}


def test_a_value_that_a_constructor_refuses_is_the_users_mistake(broken):
    done = broken("--models", "mine,toy-mean,refuses:size=4")
    assert (done.code, done.out) == (2, "")
    assert done.err == "adbench: error: model 'refuses(size=4)': only 3 will do\n"


def test_a_broken_plugin_is_named_and_the_others_run(broken, plugin_file, tmp_path):
    """Also where the suite names what only it would have brought."""
    lines = []
    for name, body in (
        ("import", "import no_such_module"),
        ("hook", "@hookimpl\ndef adbench_models(): raise RuntimeError('two\\nlines')"),
        ("require", "from adbench_harness.errors import require\nrequire('no_such_package')"),
    ):
        lines.append((plugin_file(f"{name}_breaks", body), f"plugin '{name}_breaks'"))
    axes = ("--models", "toy-mean,theirs", "--datasets", "toy-data/dark")
    done = broken(*axes, plugins=[path for path, _ in lines], COLUMNS="400")
    assert done.code == 1
    said = done.err.splitlines()[: len(lines)]
    left = [line for line in done.out.splitlines() if line.startswith("left out: ")]
    assert left == [f"left out: {line}" for line in said]
    assert done.out.rstrip().splitlines()[-len(lines) :] == left
    for line, (_, start) in zip(said, lines, strict=True):
        assert line.startswith(start)
    assert "failed: theirs [dark]: plan: unknown model 'theirs': plugin 'import_breaks'" in done.out
    assert statuses(tmp_path / "out")["toy-data/dark", "toy-mean", "toy-map"] == "ok"


def test_a_broken_plugin_alone_is_refused(error, plugin_file):
    paths = [plugin_file(name, f"import {name}_module") for name in ("first", "second")]
    assert "plugin 'first' of " in error("run", "--plugins", paths[0])
    line = error("run", "--plugins", ",".join(paths))
    assert "No module named 'first_module'" in line
    assert "No module named 'second_module'" in line


def test_explain_names_what_is_broken(ran, toys, plugin_file):
    given = ",".join((toys, plugin_file("mine", BROKEN), plugin_file("other", "x = = 1")))
    code, said = ran("--plugins", given, "--models", "mine,toy-mean", *ALONE, "--explain")
    assert code == 1
    assert "\nfailed:\n" in said.out
    assert "toy-data/dark · none · mine · none · seed 0: KeyError: 'two\\nlines'" in said.out
    assert said.out.splitlines()[-1].startswith("left out: plugin 'other' of ")


# ---------------------------------------------------------------- every plugin


@pytest.fixture
def folder(tmp_path):
    """A tiny data set of the user's own, as options of a run."""
    draw = np.random.default_rng(0)
    for place, count in (("train/good", 4), ("test/good", 2), ("test/spot", 3), ("test/line", 3)):
        for i in range(count):
            path = tmp_path / "tiny" / "part" / place / f"{i}.png"
            image = draw.integers(120, 140, (72, 64, 3), dtype=np.uint8)
            mask = np.zeros((72, 64), np.uint8)
            if place == "test/spot":
                cv2.circle(mask, (20 + 8 * i, 30), 8, 255, -1)
            if place == "test/line":
                cv2.line(mask, (10, 10 + i), (50, 60), 255, 3)
            image[mask > 0] = 20
            _write(path, image)
            if mask.any():
                truth = tmp_path / "tiny/part/ground_truth" / path.parent.name
                _write(truth / f"{i}_mask.png", mask)
    return ("--datasets", "folder", "--data", f"folder={tmp_path / 'tiny'}", "--device", "cpu")


def _write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


def written(value):
    """A parameter's value as the command line has it."""
    return f"[{','.join(map(str, value))}]" if isinstance(value, tuple) else value


@pytest.mark.parametrize("plugin", in_tree())
def test_every_plugin_runs_alone(plugin, ran, folder, tmp_path):
    catalogue = plugins.load([plugin])
    if catalogue.brought("metric", [plugin]) and not catalogue.offers["model"]:
        plugin = f"{plugin},padim"  # metrics alone judge what another plugin does
        catalogue = plugins.load(plugin.split(","))
    models = catalogue.brought("model", plugin.split(",")) or catalogue.brought(
        "model", catalogue.plugins
    )
    quick = [
        f"--set=model:{model.name}.{name}={written(value)}"
        for model in models
        if model.default  # others run only if they are named
        for name, value in getattr(model, "check_parameters", {}).items()
    ]
    choices = [parameters.resolve(catalogue, "model", Wanted(model.name)) for model in models]
    built = [parameters.build(catalogue, "model", choice) for choice in choices]
    learned = {protocol for model in built for protocol in model.protocols}
    assert learned, f"{plugin} brings no model and requires no plugin that does"
    for protocol in sorted(learned):
        out = tmp_path / protocol
        options = ("--plugins", plugin, *folder, "--protocol", protocol, "--out", out)
        code, said = ran(*options, *quick, "--keep-models")
        assert code == 0, said.out + said.err
        assert outcome(out)
        predicts_the_same(Store(out), plugin.split(","), tmp_path / "tiny")


def predicts_the_same(store, names, root):
    """What was kept scores the test images as they were scored, unless it needs all of them."""
    place = Locations.given(None, {"folder": str(root)}, None, None)
    for result in store.read():
        trial = result.trial
        images = store.images(trial)
        kept = store.fitted(result)
        assert kept is not None, result.provenance["notes"]
        if "transductive" in result.flags:
            with pytest.raises(UserError, match="has no score for a new image"):
                session.predictor(result, kept, place, plugins=names, device="cpu")
            continue
        predictor = session.predictor(result, kept, place, plugins=names, device="cpu")
        paths = [root / path for path in images["path"]]
        found = list(predictor.predict(paths, lambda *_: None))
        if "score" in images:
            scores = [one.score for one in found]
            if trial.model.name == "riad":  # which removes cells that an image's seed draws
                assert np.isfinite(scores).all()
            else:
                np.testing.assert_allclose(scores, images["score"], 1e-4, err_msg=trial.title)
        else:
            chosen = images["class"][images["probability"].argmax(1)]
            assert [one.defect for one in found] == chosen.tolist()


def test_maps_of_an_input_that_is_not_square(ran, folder, tmp_path):
    """Images of 72 x 64 px go through PatchCore as 64 x 96 px, alone and below a crop."""
    out = tmp_path / "wide"
    sizes = "patchcore:resize=64x96:crop=[none,48x80],patchcore:resize=64:crop=48"
    options = ("--scorers", "nn", "--backbone", "embedded", "--keep-maps", "--out", out)
    code, said = ran("--plugins", "patchcore", "--models", sizes, *folder, *options)
    assert code == 0, said.out + said.err
    store = Store(out)
    trials = {result.trial.model.label: result.trial for result in store.read()}
    assert {label: store.maps(trial).values.shape for label, trial in trials.items()} == {
        "patchcore(resize=64x96,crop=none)": (8, 64, 96),
        "patchcore(resize=64x96,crop=48x80)": (8, 48, 80),
        "patchcore(resize=64,crop=48)": (8, 48, 48),
    }
    for result in store.read():
        assert result.metrics["pixel_auroc"] > 0.8  # the maps lie where the defects are
