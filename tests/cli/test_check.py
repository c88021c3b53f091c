from __future__ import annotations

import pytest

from adbench_harness.cli import main


def test_a_component_that_keeps_every_promise(adbench, toys):
    done = adbench("check", "toy-mean", "--plugins", toys)
    assert done.code == 0, done.out
    assert "model toy-mean  refit_forgets" in done.out
    assert done.out.endswith("checks, 0 failed\n")


@pytest.fixture
def checked(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")

    def check(*arguments):
        code = main(["check", *arguments])
        return code, capsys.readouterr().out

    return check


def test_offenders_fail_with_the_reason(checked, toys):
    code, text = checked("model:toy-nan", "--plugins", toys)
    assert code == 1
    said = "FAILED: ContractError: AnomalyMap holds a value that is not finite (checked with its"
    assert said in text
    assert "model toy-nan  says_what_it_is" in text
    assert "scorer" not in text


def test_a_plugin_is_all_that_it_brings(checked):
    code, text = checked("bgfilter")
    assert code == 0
    for component in ("preprocessor mean", "preprocessor median", "scorer knn-mean"):
        assert component in text
    assert "patchcore" not in text


def test_declared_failures_are_no_failures_unless_they_pass(checked, plugin_file):
    plugin = plugin_file(
        "declared",
        """
class Flat:
    name, summary, paper, version = "flat", "Half the rows.", None, 1
    xfail = {"keeps_geometry": "it is what it does"}

    def __call__(self, image):
        return image[::2]


class Shy(Flat):
    name = "shy"

    def __call__(self, image):
        return image.copy()


@hookimpl
def adbench_preprocessors():
    return [Flat, Shy]
""",
    )
    code, text = checked("flat", "--plugins", plugin)
    assert code == 0
    assert "fails as declared: it is what it does" in text
    code, text = checked("shy", "--plugins", plugin)
    assert code == 1
    assert "FAILED: it passes, but xfail declares that it fails" in text


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("def learnt(self): return []", "learned"),
        ("transductiv = True", "transductive"),
        ("defaults = False", "default"),
        ("def fits(self, train, tools): return self", "fit"),
        ("feature_request = ()", "feature_requests"),
    ],
)
def test_a_misspelt_member_is_refused(capsys, plugin_file, line, meant):
    plugin = plugin_file(
        "misspelt",
        f"""
from toys import ToyModel

class Misspelt(ToyModel):
    name = "misspelt"
    {line}

@hookimpl
def adbench_models():
    return [Misspelt]
""",
    )
    assert main(["check", "misspelt", "--plugins", plugin]) != 0
    out, err = capsys.readouterr()
    assert f"did you mean '{meant}'?" in " ".join((out + err).split())


def test_a_misspelt_license_is_refused(capsys, plugin_file):
    plugin = plugin_file(
        "misspelt",
        """
from toys import ToyData

class Misspelt(ToyData):
    name, licence = "misspelt", "CC0"

@hookimpl
def adbench_datasets():
    return [Misspelt]
""",
    )
    assert main(["check", "misspelt", "--plugins", plugin]) != 0
    out, err = capsys.readouterr()
    assert "did you mean 'license'?" in " ".join((out + err).split())


def test_mistakes_are_one_line(error):
    assert "no plugin or component 'knn-maen' (did you mean 'knn-mean'?)" in error(
        "check", "knn-maen"
    )
