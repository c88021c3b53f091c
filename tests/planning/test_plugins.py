from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adbench_harness.errors import ContractError, UserError
from adbench_harness.planning import plugins

PluginFile = Callable[[str, str], str]

SCORER = """
class Mine:
    name, summary, paper, version = "mine", "Mine.", None, 1

@hookimpl
def adbench_scorers():
    return [Mine]
"""


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Installs a distribution with one plugin: real metadata and a real module on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: str, plugin: str, body: str, version: str = "1.0") -> None:
        module = name.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(
            f"from adbench_harness.hookspecs import hookimpl\n{body}"
        )
        info = tmp_path / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[adbench]\n{plugin} = {module}\n")
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


def refused(*names: str) -> str:
    with pytest.raises(UserError) as error:
        plugins.load(names)
    message = str(error.value)
    assert "\n" not in message
    return message


# ---------------------------------------------------------------- found and loaded


def test_basic_is_always_there_and_named_by_nobody() -> None:
    catalogue = plugins.load([])
    assert catalogue.named == ()
    assert list(catalogue.plugins) == ["basic"]
    assert {"mini", "mvtec_ad", "folder"} <= set(catalogue.offers["dataset"])
    assert {"embedded", "resnet18"} <= set(catalogue.offers["backbone"])


def test_an_installed_plugin_is_found_with_its_owner(distribution: Callable[..., None]) -> None:
    distribution("adbench-mine", "mine", SCORER, version="2.1")
    catalogue = plugins.load(["mine"])
    assert catalogue.named == ("mine",)
    assert catalogue.plugins["mine"].origin == "adbench-mine 2.1"
    assert catalogue.offers["scorer"]["mine"].plugin == "mine"


def test_listing_imports_nothing(distribution: Callable[..., None]) -> None:
    distribution("adbench-mine", "mine", "raise RuntimeError")
    assert "mine" in plugins.available()
    plugins.check_names(["mine"])
    assert "adbench_mine" not in sys.modules


def test_required_plugins_come_along_unnamed(distribution: Callable[..., None]) -> None:
    distribution("adbench-other", "other", SCORER)
    distribution("adbench-mine", "mine", "requires = ('other',)")
    catalogue = plugins.load(["mine"])
    assert catalogue.named == ("mine",)
    assert list(catalogue.plugins) == ["basic", "mine", "other"]
    assert [c.name for c in catalogue.brought("scorer", ["other"])] == ["mine"]
    assert catalogue.brought("scorer", catalogue.named) == []


def test_a_plugin_that_is_named_and_required_is_named(distribution: Callable[..., None]) -> None:
    distribution("adbench-other", "other", SCORER)
    distribution("adbench-mine", "mine", "requires = ('other',)")
    assert plugins.load(["mine", "other"]).named == ("mine", "other")
    assert plugins.load(["mine", "other", "mine"]).named == ("mine", "other")


def test_components_keep_the_order_of_the_command_line(plugin_file: PluginFile) -> None:
    first = plugin_file("z", SCORER.replace("mine", "zed"))
    second = plugin_file("a", SCORER)
    offers = plugins.load([first, second]).offers["scorer"]
    assert [name for name in offers if name in ("zed", "mine")] == ["zed", "mine"]


def test_the_same_component_from_two_plugins_is_one(plugin_file: PluginFile) -> None:
    body = (
        "from adbench_harness.basic.scorers import MapScorer\n"
        "@hookimpl\ndef adbench_scorers(): return [MapScorer]"
    )
    offer = plugins.load([plugin_file("again", body)]).offers["scorer"]["map"]
    assert offer.plugin == "basic"


def test_a_file_may_use_dataclasses(plugin_file: PluginFile) -> None:
    body = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Box:\n    side: int = 1\n"
    )
    path = Path(plugin_file("boxes", ""))
    path.write_text(body)
    assert plugins.load([str(path)]).named == ("boxes",)


# ---------------------------------------------------------------- refused


def test_the_version_of_a_file_is_the_beginning_of_its_sha256(plugin_file: PluginFile) -> None:
    path = plugin_file("mine", SCORER)
    plugin = plugins.load([path]).plugins["mine"]
    assert plugin.version == hashlib.sha256(Path(path).read_bytes()).hexdigest()[:8]
    assert (plugin.is_file, plugin.origin) == (True, path)


def test_unknown_plugin_gets_the_nearest_name() -> None:
    message = refused("patchcor")
    assert message.startswith("unknown plugin 'patchcor' (did you mean 'patchcore'?); installed: ")
    with pytest.raises(UserError, match="unknown plugin 'patchcor'"):
        plugins.check_names(["patchcore", "patchcor"])


def test_a_file_that_is_not_there() -> None:
    assert "nowhere.py' does not exist; give the path of a .py file" in refused("./nowhere.py")


def test_two_distributions_offering_one_name(distribution: Callable[..., None]) -> None:
    distribution("adbench-mine", "mine", SCORER)
    distribution("other-mine", "mine", SCORER, version="0.3")
    assert refused("mine") == (
        "plugin 'mine' is offered by adbench-mine 1.0 and other-mine 0.3; uninstall one of them"
    )
    assert plugins.load(["patchcore"]).named == ("patchcore",)


def test_a_file_and_a_distribution_offering_one_name(
    distribution: Callable[..., None], plugin_file: PluginFile
) -> None:
    distribution("adbench-mine", "mine", SCORER)
    path = plugin_file("mine", SCORER)
    message = refused("mine", path)
    assert "adbench-mine 1.0" in message
    assert path in message


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = = 1", "SyntaxError: invalid syntax"),
        ("raise RuntimeError('one\\ntwo')", "RuntimeError: one"),
    ],
)
def test_a_broken_plugin_is_refused_only_when_asked_for(
    distribution: Callable[..., None], body: str, reason: str
) -> None:
    distribution("adbench-mine", "mine", body)
    message = refused("mine")
    assert message.startswith(f"plugin 'mine' of adbench-mine 1.0 cannot be imported: {reason}")
    assert plugins.load(["patchcore"]).named == ("patchcore",)


def test_a_plugin_without_its_extra_says_so_in_one_line(plugin_file: PluginFile) -> None:
    body = "from adbench_harness.errors import require\nrequire('no_such_package')"
    assert refused(plugin_file("mine", body)) == (
        "plugin 'mine': no_such_package is not installed; "
        "pip install 'adbench-harness[no_such_package]'"
    )


def test_an_unknown_requirement_names_who_requires_it(plugin_file: PluginFile) -> None:
    message = refused(plugin_file("mine", "requires = ('patchcor',)"))
    assert "plugin 'mine'" in message
    assert "unknown plugin 'patchcor' (did you mean 'patchcore'?)" in message


def test_a_misspelt_hook(plugin_file: PluginFile) -> None:
    path = plugin_file("mine", SCORER.replace("adbench_scorers", "adbench_scorer"))
    assert refused(path) == (
        f"plugin 'mine' of {path} has the unknown hook 'adbench_scorer' "
        "(did you mean 'adbench_scorers'?)"
    )


def test_a_hook_without_its_mark(plugin_file: PluginFile) -> None:
    path = plugin_file("mine", SCORER.replace("@hookimpl", ""))
    message = refused(path)
    assert message.startswith(
        f"plugin 'mine' of {path} defines 'adbench_scorers' without @hookimpl"
    )


def test_a_hook_with_arguments_it_will_not_get(plugin_file: PluginFile) -> None:
    path = plugin_file("mine", "@hookimpl\ndef adbench_scorers(catalogue): return []")
    message = refused(path)
    assert f"plugin 'mine' of {path}" in message
    assert "adbench_scorers" in message
    assert "catalogue" in message


def test_a_hook_that_fails(plugin_file: PluginFile) -> None:
    path = plugin_file("mine", "@hookimpl\ndef adbench_scorers(): import no_such_module")
    message = refused(path)
    assert f"plugin 'mine' of {path}: adbench_scorers failed: ModuleNotFoundError" in message


def test_a_class_that_cannot_be_completed(plugin_file: PluginFile) -> None:
    body = (
        "class Mine:\n    def __init_subclass__(cls): raise RuntimeError('final')\n"
        "@hookimpl\ndef adbench_scorers(): return [Mine]"
    )
    path = plugin_file("mine", body)
    assert refused(path) == (
        f"plugin 'mine' of {path}: adbench_scorers failed: RuntimeError: final; fix it or leave it "
        "out of --plugins"
    )


def test_an_instance_in_place_of_a_class(plugin_file: PluginFile) -> None:
    path = plugin_file("mine", SCORER.replace("[Mine]", "[Mine()]"))
    message = refused(path)
    assert message.startswith(f"plugin 'mine' of {path}: scorer of type Mine")
    assert message.endswith("is not a class; return classes from adbench_scorers")


def test_broken_plugins_beside_sound_ones(plugin_file: PluginFile) -> None:
    """Whatever is wrong with them, and with what they require."""
    broken = {
        "import_": "import no_such_module",
        "hook": "@hookimpl\ndef adbench_scorers(): import no_such_module",
        "unmarked": SCORER.replace("@hookimpl", ""),
        "nameless": SCORER.replace("name, summary", "nam, summary"),
    }
    paths = {name: plugin_file(name, body) for name, body in broken.items()}
    paths["requires"] = plugin_file("requires", f"requires = ({paths['import_']!r},)")
    sound = plugin_file("mine", SCORER)
    catalogue = plugins.sound([paths["hook"], sound, *paths.values(), "padim"])
    assert catalogue.named == ("mine", "padim")
    assert set(catalogue.broken) == set(paths.values())
    for name, path in paths.items():
        blamed = "import_" if name == "requires" else name
        assert catalogue.broken[path].startswith(f"plugin '{blamed}'")
        assert "\n" not in catalogue.broken[path]
    # Which plugin would have brought it, nobody knows.
    with pytest.raises(ContractError, match=r"^unknown scorer 'theirs': plugin 'hook' of .*hook"):
        catalogue.get("scorer", "theirs")
    assert catalogue.get("scorer", "mine").name == "mine"


def test_sound_plugins_are_loaded_once(plugin_file: PluginFile, tmp_path: Path) -> None:
    log = tmp_path / "log"
    path = plugin_file("mine", f"{SCORER}\nopen({str(log)!r}, 'a').write('x')")
    broken = plugin_file("broken", "import no_such_module")
    assert plugins.sound([path, broken]).named == ("mine",)
    assert plugins.sound([path]).broken == {}
    assert log.read_text() == "x"


def test_nothing_but_broken_plugins_is_refused(plugin_file: PluginFile) -> None:
    paths = [plugin_file(name, "import no_such_module") for name in ("one", "two")]
    for names in ([paths[0]], [paths[0], paths[0]], paths):
        with pytest.raises(UserError) as error:
            plugins.sound(names)
        for name in set(names):
            assert f"plugin '{Path(name).stem}' of {name} cannot be imported" in str(error.value)


def test_what_cannot_be_loaded_together_is_refused(plugin_file: PluginFile) -> None:
    paths = [plugin_file("one", SCORER), plugin_file("two", SCORER)]
    with pytest.raises(UserError, match="scorer 'mine' is provided by plugin 'one' of"):
        plugins.sound(paths)


def test_two_different_components_with_one_name(plugin_file: PluginFile) -> None:
    first, second = plugin_file("one", SCORER), plugin_file("two", SCORER)
    assert refused(first, second) == (
        f"scorer 'mine' is provided by plugin 'one' of {first} and, in another form, by plugin "
        f"'two' of {second}; load one of them"
    )


def test_one_plugin_with_two_components_of_one_name(plugin_file: PluginFile) -> None:
    body = SCORER.replace("return [Mine]", "return [Mine, type('Mine', (Mine,), {})]")
    assert "scorer 'mine' is provided by plugin 'one'" in refused(plugin_file("one", body))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("name, summary", "nam, summary", "scorer Mine has no name"),
        ('"mine"', '"My Scorer"', "scorer Mine cannot be named 'My Scorer'"),
        ('"mine"', '"a,b"', "scorer Mine cannot be named 'a,b'"),
        (
            "None, 1",
            "None, '1'",
            "scorer 'mine' cannot have the version '1'; give it a whole number",
        ),
        ('"Mine."', "None", "scorer 'mine' has no summary"),
    ],
)
def test_a_component_that_does_not_say_what_it_is(
    plugin_file: PluginFile, old: str, new: str, reason: str
) -> None:
    path = plugin_file("one", SCORER.replace(old, new))
    assert refused(path).startswith(f"plugin 'one' of {path}: {reason}")


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        ("'image', unit='percent'", "unit cannot be 'percent'; choose from '%', '', 'count'"),
        ("'images'", "needs cannot be 'images'; choose from 'image', 'map'"),
    ],
)
def test_a_metric_of_unknown_words(plugin_file: PluginFile, declared: str, reason: str) -> None:
    path = plugin_file(
        "one",
        "from adbench_harness.types import Metric\n@hookimpl\n"
        f"def adbench_metrics(): return [Metric('m', 'One.', lambda seen: 1.0, {declared})]",
    )
    assert f"metric 'm': {reason}" in refused(path)


def test_unknown_component_gets_the_nearest_name() -> None:
    with pytest.raises(
        UserError, match=r"unknown backbone 'resnet19' \(did you mean 'resnet18'\?\)"
    ):
        plugins.load([]).get("backbone", "resnet19")
