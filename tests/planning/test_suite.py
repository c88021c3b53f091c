from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adbench_harness.errors import UserError
from adbench_harness.planning import suite
from adbench_harness.planning.grammar import Wanted


def read(text: str, tmp_path: Path) -> suite.Suite:
    path = tmp_path / "suite.toml"
    path.write_text(text, encoding="utf-8")
    return suite.validate(suite.read(path), str(path))


def test_a_file_says_all_that_flags_can(tmp_path: Path) -> None:
    asked = read(
        """
        plugins = ["patchcore", "./mine.py"]
        datasets = ["mvtec_ad/bottle", "mini"]
        preprocessors = ["none", ["mean:size=11", "médian"]]
        models = [{name = "patchcore", coreset_ratio = [0.1, 0.25]}, "padim"]
        scorers = "nn,knn:k=3"
        seeds = 3
        split_seeds = [5, 7]
        [set]
        "patchcore.layers" = ["layer2"]
        [overrides.bottle]
        "patchcore.coreset_ratio" = 0.5
        [evaluation]
        border = "crop"
        [tolerance]
        scores = 0.1
        [tolerance.each]
        image_f1 = 0.02
        """,
        tmp_path,
    )
    assert asked.plugins == ["patchcore", "./mine.py"]
    assert asked.datasets == [[Wanted("mvtec_ad/bottle")], [Wanted("mini")]]
    assert asked.preprocessors == [[], [Wanted("mean", {"size": "11"}), Wanted("médian")]]
    assert asked.models == [
        [Wanted("patchcore", {"coreset_ratio": [0.1, 0.25]})],
        [Wanted("padim")],
    ]
    assert asked.scorers == [[Wanted("nn")], [Wanted("knn", {"k": "3"})]]
    assert asked.augmenters is None
    assert (asked.seeds, asked.split_seeds) == ([0, 1, 2], [5, 7])
    assert asked.set == {"patchcore.layers": ["layer2"]}
    assert asked.overrides == {"bottle": {"patchcore.coreset_ratio": 0.5}}
    assert (asked.evaluation.border, asked.evaluation.size) == ("crop", None)
    assert asked.tolerance == suite.Tolerance(scores=0.1, each={"image_f1": 0.02})


def test_defaults() -> None:
    asked = suite.validate({"plugins": "patchcore,bgfilter"}, "command line")
    assert asked.plugins == ["patchcore", "bgfilter"]
    assert (asked.seeds, asked.protocol, asked.backbone) == ([0], "unsupervised", None)
    assert (asked.split_seeds, asked.shot_seeds, asked.shots) == ([0], [0], None)
    assert (asked.validation, asked.unified, asked.precision) == (0, False, "float32")
    assert asked.evaluation == suite.EvaluationTable(size=None, border="full")
    assert asked.tolerance == suite.Tolerance(metrics=0.005, scores=0.05, noise=4, each={})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"sedes": 3}, "x: unknown key 'sedes' (did you mean 'seeds'?); valid: plugins, "),
        (
            {"evaluation": {"bordr": "crop"}},
            "x: unknown key 'evaluation.bordr' (did you mean 'border'?); valid: size, border",
        ),
        (
            {"tolerance": {"score": 1}},
            "x: unknown key 'tolerance.score' (did you mean 'scores'?); valid: metrics, scores, ",
        ),
        ({"tolerance": {"noise": 0.5}}, "x: 'tolerance.noise': "),
        ({"tolerance": {"each": {"aupro": -1}}}, "x: 'tolerance.each.aupro': "),
        ({"plugins": []}, "x: 'plugins': "),
        ({"seeds": 0}, "x: 'seeds': "),
        ({"seeds": [-1]}, "x: 'seeds.0': "),
        ({"split_seeds": "a"}, "x: 'split_seeds': "),
        ({"evaluation": {"size": 0}}, "x: 'evaluation.size': "),
        ({"evaluation": {"border": "none"}}, "x: 'evaluation.border': "),
        ({"protocol": "supervised"}, "x: 'protocol': "),
        ({"models": [{"ratio": 1}]}, "x: 'models': the table {'ratio': 1} needs a key 'name'"),
        ({"models": 3}, "x: 'models': 3 does not name a component"),
        ({"preprocessors": []}, "x: 'preprocessors': "),
    ],
)
def test_mistakes_name_the_key_and_the_reason(content: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        suite.validate({"plugins": "a", **content}, "x")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_plugins_are_required() -> None:
    with pytest.raises(UserError, match="x: 'plugins': field required"):
        suite.validate({}, "x")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"plugins = [\n'a'\nseeds", "line 3"), (b"plugins = '\xff'", "utf-8")],
)
def test_a_file_that_is_no_toml_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"bad.toml' cannot be read: .*{reason}"):
        suite.read(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mine.toml' does not exist"):
        suite.read(tmp_path / "mine.toml")
    with pytest.raises(UserError, match="cannot be read"):
        suite.read(tmp_path)


def test_a_file_is_checked_by_itself_and_needs_no_plugins(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("seeds = 2")
    assert suite.read(path) == {"seeds": 2}
    path.write_text("seeds = 0")
    with pytest.raises(UserError, match=r"mine.toml: 'seeds': "):
        suite.read(path)
