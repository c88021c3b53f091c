"""An author's code that fails while a plan is made costs its own trials, and no others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from adbench_harness.errors import UserError
from adbench_harness.planning import plan, plugins, suite
from adbench_harness.planning.locations import Locations
from adbench_harness.planning.plan import Plan
from adbench_harness.results.store import Failure
from adbench_harness.results.trial import Trial

PluginFile = Callable[[str, str], str]
Planned = Callable[..., Plan]

HEAD = """
from functools import cached_property
from typing import Annotated
import toys
from toys import ToyAugmenter, ToyData, ToyModel, ToyPreprocessor, ToyScorer, ToyTrained, ToyWrapper
from adbench_harness.errors import UserError
from adbench_harness.types import Backbone, FeatureRequest, Model

class Unspeakable(Exception):
    def __str__(self): raise RuntimeError

def fail(value=None): raise KeyError(value if isinstance(value, int) else "nowhere")
"""
HOOK = "\n@hookimpl\ndef adbench_{kind}s(): return [Mine]\n"
ALL = {
    "datasets": "toy-data",
    "models": "toy-mean,toy-trained",
    "scorers": "toy-map,own",
    "augmenters": "none,toy-square",
    "preprocessors": "none,toy-dim",
}


@pytest.fixture
def planned(plugin_file: PluginFile, toys: str) -> Planned:
    """Plans the toys and the component ``Mine`` of ``kind``; keywords are the suite's keys."""

    def make(kind: str, body: str, hooks: str = "", **keys: Any) -> Plan:
        path = plugin_file("mine", HEAD + body + HOOK.format(kind=kind) + hooks)
        asked = suite.validate({"plugins": [toys, path], **ALL, **keys}, "test")
        return plan.make(asked, plugins.load(asked.plugins), Locations())

    return make


def split(made: Plan) -> tuple[list[Trial], list[Trial]]:
    """The trials that failed and those that bundles run; together they are all, in the order."""
    failed = [trial for trial in made.trials if trial.id in made.failed]
    ran = [trial for bundle in made.bundles for trial in bundle.trials]
    assert len({t.id for t in failed} | {t.id for t in ran}) == len(failed) + len(ran)
    assert [t for t in made.trials if t.id not in made.failed] == ran
    return failed, ran


def reason(made: Plan) -> str:
    """The one message of everything that failed."""
    (failure,) = set(made.failed.values())
    assert failure.stage == "plan"
    assert failure.traceback.startswith("Traceback (most recent call last):")
    assert "\n" not in failure.message
    assert len(failure.message) <= 300
    return failure.message


def others(planned: Planned) -> list[Trial]:
    """The trials of everything else, where nothing is broken."""
    made = planned("model", "class Mine(ToyModel):\n    name = 'mine'")
    assert not made.failed
    return list(made.trials)


def names(trials: list[Trial]) -> list[tuple[Any, ...]]:
    """What makes trials the same but for the versions of files, which are in an id."""
    return [
        (t.title, t.weights, t.fingerprint, t.auxiliary, t.metrics, t.split_seed) for t in trials
    ]


# ---------------------------------------------------------------- models


MODELS = {
    "constructor": (
        "    def __init__(self): raise KeyError('size')",
        "KeyError: 'size'",
    ),
    "constructor, ValueError": (
        "    def __init__(self, *, size: int = 3): raise ValueError('no size is right')",
        "ValueError: no size is right",
    ),
    "constructor, endless": ("    def __init__(self): self.__init__()", "RecursionError: "),
    "unspeakable": ("    def __init__(self): raise Unspeakable", "Unspeakable: no message"),
    "huge": (
        "    def __init__(self): raise RuntimeError('first\\n' + 'long ' * 1_000_000)",
        "RuntimeError: first long long ",
    ),
    "signature": (
        "    def __init__(self, size): pass",
        "Mine: constructor parameter 'size' must be keyword-only, typed and have a default",
    ),
    "annotation": (
        "    def __init__(self, *, size: 'Nowhere' = 3): pass",
        "NameError: name 'Nowhere' is not defined",
    ),
    "unknown to pydantic": (
        "    def __init__(self, *, size: ToyData = None): pass",
        "PydanticSchemaGenerationError: ",
    ),
    "default": (
        "    def __init__(self, *, size: int = 'big'): pass",
        "model 'mine': parameter 'size' cannot be 'big'",
    ),
    "preset": (
        "    presets = {'small': {'size': 1}}\n    def __init__(self): pass",
        "model 'mine' has no parameter 'size'",
    ),
    "presets": ("    presets = ['small']", "model 'mine': presets cannot be ['small']"),
    "nested": (
        "    def __init__(self, *, detector: Annotated[Model, 'any'] = 'nobody'): pass",
        "unknown model 'nobody'",
    ),
    "input": ("    input = property(fail)", "KeyError: 'nowhere'"),
    "input, attribute": (
        "    @property\n    def input(self): return self.nothing",
        "AttributeError: 'Mine' object has no attribute 'nothing'",
    ),
    "emits": ("    emits = cached_property(fail)", "KeyError: 'nowhere'"),
    "emits, property": ("    emits = property(fail)", "KeyError: 'nowhere'"),
    "emits, list": ("    emits = [3]", "model 'mine': emits cannot be [3]: "),
    "requests": ("    feature_requests = property(fail)", "KeyError: 'nowhere'"),
    "auxiliary": ("    auxiliary = property(fail)", "KeyError: 'nowhere'"),
    "protocols": ("    protocols = {'unsupervised'}", "model 'mine': protocols cannot be "),
    "misspelt": ("    transductiv = True", "model 'mine': 'transductiv' is not a member"),
}


@pytest.mark.parametrize(("body", "message"), MODELS.values(), ids=MODELS)
def test_a_broken_model_has_a_row_and_all_others_run(
    planned: Planned, body: str, message: str
) -> None:
    body = f"class Mine(ToyModel):\n    name = 'mine'\n{body}"
    made = planned("model", body, models="toy-mean,mine,toy-trained")
    failed, ran = split(made)
    assert message in reason(made)
    assert names(ran) == names(others(planned))
    # 2 categories x 2 chains of preprocessors
    assert [(t.model.name, t.scorer.name, t.scorer.version) for t in failed] == [
        ("mine", "none", 0)
    ] * 4
    assert len({(t.category, t.preprocessor) for t in failed}) == 4
    assert {t.augmenter for t in failed} == {None}


def test_a_model_that_lacks_a_method(planned: Planned) -> None:
    body = "class Mine(Model):\n    name, summary, version = 'mine', 'Mine.', 1"
    made = planned("model", body, models="mine,toy-mean")
    assert reason(made).startswith("model 'mine' lacks fit, predict; ")


def test_a_failure_of_every_model_is_a_plan(planned: Planned) -> None:
    body = "class Mine(ToyModel):\n    name = 'mine'\n    input = property(fail)"
    made = planned("model", body, models="mine")
    assert len(made.failed) == len(made.trials) == 4
    assert made.bundles == ()


def test_who_needs_a_broken_component_is_broken(planned: Planned) -> None:
    body = (
        "class Mine(ToyModel):\n    name = 'mine'\n"
        "    def __init__(self, *, gain: float = 1.0): raise RuntimeError('no detector')"
    )
    made = planned("model", body, models="toy-wrapper(detector=mine),toy-wrapper,mine")
    failed, ran = split(made)
    assert {t.model.label for t in failed} == {"toy-wrapper(detector=mine)", "mine"}
    assert {t.model.label for t in ran} == {"toy-wrapper"}
    assert reason_of(made, failed[0]) == "RuntimeError: no detector"


def reason_of(made: Plan, trial: Trial) -> str:
    failure: Failure = made.failed[trial.id]
    return failure.message


BACKBONE = """
class Net(Backbone):
    name, summary, version, layers = "net", "Net.", 1, ("layer1",)
    def __init__(self): raise RuntimeError("no network")
    def network(self, layers): pass

class Mine(ToyModel):
    name = "mine"
    def __init__(self, *, backbone: str = "{default}", gain: float = 1.0):
        self.feature_requests = (FeatureRequest(backbone, ("layer1",)),)
"""
BACKBONES = "\n@hookimpl\ndef adbench_backbones(): return [Net]\n"


@pytest.mark.parametrize(
    ("default", "models", "keys"),
    [
        ("net", "toy-mean,mine", {}),
        ("embedded", "toy-mean,mine:backbone=net", {}),
        ("embedded", "toy-mean,mine", {"backbone": "net"}),
        ("embedded", "toy-mean,mine", {"set": {"mine.backbone": "net"}}),
    ],
)
def test_a_broken_backbone_breaks_the_models_on_it(
    planned: Planned, default: str, models: str, keys: dict[str, Any]
) -> None:
    body = BACKBONE.format(default=default)
    made = planned("model", body, BACKBONES, models=models, augmenters="none", **keys)
    failed, ran = split(made)
    assert {t.model.name for t in failed} == {"mine"}
    assert {t.model.name for t in ran} == {"toy-mean"}
    assert reason(made) == "RuntimeError: no network"


# ---------------------------------------------------------------- the user's own mistakes


TAKES = """
class Mine(ToyModel):
    name = "mine"
    def __init__(self, *, size: int = 3):
        if size != 3:
            raise {error}("only 3 will do")
"""


@pytest.mark.parametrize("error", ["ValueError", "TypeError"])
@pytest.mark.parametrize(
    "keys",
    [
        {"models": "toy-mean,mine:size=4"},
        {"models": "toy-mean,mine", "set": {"mine.size": [3, 4]}},
        {"models": "toy-mean,mine", "overrides": {"light": {"mine.size": 4}}},
    ],
)
def test_a_value_that_a_constructor_refuses_is_the_users_mistake(
    planned: Planned, error: str, keys: dict[str, Any]
) -> None:
    with pytest.raises(UserError, match=r"^model 'mine.*': only 3 will do$"):
        planned("model", TAKES.format(error=error), augmenters="none", **keys)


def test_another_error_is_not_the_users_mistake(planned: Planned) -> None:
    made = planned("model", TAKES.format(error="KeyError"), models="toy-mean,mine:size=[3,4]")
    failed, ran = split(made)
    assert {t.model.label for t in failed} == {"mine(size=4)"}
    assert {t.model.label for t in ran} == {"toy-mean", "mine"}
    assert reason(made) == "KeyError: 'only 3 will do'"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"models": "mine,toy-maen"}, "unknown model 'toy-maen'"),
        ({"models": "mine,toy-mean:gian=2"}, "has no parameter 'gian'"),
        ({"models": "mine", "set": {"toy-mean.gian": 2}}, "has no parameter 'gian'"),
        ({"models": "mine", "datasets": "toy-data/drak"}, "has no category 'drak'"),
    ],
)
def test_mistakes_beside_a_broken_component_are_mistakes(
    planned: Planned, keys: dict[str, Any], message: str
) -> None:
    body = "class Mine(ToyModel):\n    name = 'mine'\n    input = property(fail)"
    with pytest.raises(UserError, match=message):
        planned("model", body, **keys)


@pytest.mark.parametrize(
    "keys",
    [
        {"scorers": "softmax"},
        {"models": "mine,toy-mean", "augmenters": "none,toy-square"},
        {"set": {"map.sigma": 2}, "scorers": None},
        {"overrides": {"dark": {"toy-map.pool": "mean"}}, "scorers": None},
    ],
)
def test_what_only_a_broken_model_would_use_is_no_mistake(
    planned: Planned, keys: dict[str, Any]
) -> None:
    body = (
        "class Mine(ToyModel):\n    name = 'mine'\n    input = property(fail)\n"
        "    def __init__(self, *, size: int = 3): pass"
    )
    failed, _ = split(planned("model", body, **{"models": "mine", **keys}))
    assert {t.model.name for t in failed} == {"mine"}


# ---------------------------------------------------------------- other kinds


BROKEN = {
    "scorer": "class Mine(ToyScorer):\n    name = 'mine'\n    accepts = property(fail)",
    "augmenter": "class Mine(ToyAugmenter):\n    name = 'mine'\n    def __init__(self): fail()",
    "preprocessor": "class Mine(ToyPreprocessor):\n    name = 'mine'\n    __init__ = fail",
}


@pytest.mark.parametrize(
    ("kind", "axis", "count"),
    [
        # 2 categories x 2 preprocessors x (toy-mean, toy-trained with none and toy-square)
        ("scorer", "toy-map,own,mine", 2 * 2 * 3),
        # 2 categories x 2 preprocessors x toy-trained x 2 scorers
        ("augmenter", "none,toy-square,mine", 2 * 2 * 2),
        # 2 categories x 2 chains x (toy-mean, toy-trained twice) x 2 scorers
        ("preprocessor", "none,toy-dim,mine,toy-dim+mine", 2 * 2 * 3 * 2),
    ],
)
def test_a_broken_component_of_another_kind(
    planned: Planned, kind: str, axis: str, count: int
) -> None:
    made = planned(kind, BROKEN[kind], **{f"{kind}s": axis})
    failed, ran = split(made)
    assert reason(made) == "KeyError: 'nowhere'"
    assert names(ran) == names(others(planned))
    assert len(failed) == count
    assert all("mine" in t.title for t in failed)
    # A preprocessor that cannot be built is not among those that a bundle prepares beside its own.
    chains = {c.name for bundle in made.bundles for chain in bundle.chains for c in chain}
    assert "mine" not in chains


def test_the_failed_trial_of_a_scorer_has_the_id_that_it_has_when_it_is_fixed(
    planned: Planned,
) -> None:
    """So the next run replaces it. (A single file's version is in an id, so it stays the same.)"""
    body = (
        "import os\n"
        "class Mine(ToyScorer):\n    name = 'mine'\n"
        "    def __init__(self):\n        if os.environ.get('BROKEN'): fail()\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BROKEN", "1")
        failed, _ = split(planned("scorer", body, scorers="mine"))
    fixed = planned("scorer", body, scorers="mine")
    assert not fixed.failed
    assert [t.id for t in fixed.trials] == [t.id for t in failed]
    assert failed


DATA = "class Mine(ToyData):\n    name = 'mine'\n"
DATASETS = {
    "constructor": ("    def __init__(self): fail()", "none"),
    "build": ("    def build(self, root): fail()", "none"),
    "categories": ("    def categories(self, root): fail()", "none"),
    "not a list": ("    def categories(self, root): return None", "none"),
    "not names": ("    def categories(self, root): return [root]", "none"),
    "license": ("    license = None", "none"),
}


@pytest.mark.parametrize(("body", "category"), DATASETS.values(), ids=DATASETS)
def test_a_broken_data_set(planned: Planned, body: str, category: str) -> None:
    made = planned("dataset", DATA + body, datasets="mine,toy-data")
    failed, ran = split(made)
    assert names(ran) == names(others(planned))
    assert {(t.dataset.name, t.category, t.fingerprint) for t in failed} == {("mine", category, "")}
    # 2 preprocessors x (toy-mean, toy-trained with none and toy-square) x 2 scorers
    assert len(failed) == 2 * 3 * 2
    assert reason(made)


def test_a_broken_data_set_of_which_one_category_is_asked_for(planned: Planned) -> None:
    body = DATA + "    def categories(self, root): fail()"
    failed, _ = split(planned("dataset", body, datasets="mine/dark"))
    assert {t.category for t in failed} == {"dark"}


SAMPLES = {
    "raises": (
        "fail()",
        "data set 'mine', category 'dark': listing its samples failed: KeyError: 'nowhere'",
    ),
    "nothing": ("return None", "'NoneType' object is not iterable"),
    "no samples": ("return [1, 2]", "AttributeError: 'int' object has no attribute 'split'"),
    "no files": (
        "return [toys.Sample(root / f'{s}.png', s, 0) for s in ('train', 'test')]",
        "FileNotFoundError: ",
    ),
}


@pytest.mark.parametrize("unified", [False, True])
@pytest.mark.parametrize(("body", "message"), SAMPLES.values(), ids=SAMPLES)
def test_a_category_that_cannot_be_listed(
    planned: Planned, body: str, message: str, unified: bool
) -> None:
    body = (
        f"{DATA}    def samples(self, root, category, split_seed):\n"
        f"        if category == 'dark': {body}\n"
        "        return super().samples(root, category, split_seed)"
    )
    made = planned("dataset", body, datasets="mine", unified=unified)
    failed, ran = split(made)
    assert message in reason(made)
    assert {t.category for t in failed} == ({"dark", "light"} if unified else {"dark"})
    assert {t.category for t in ran} == (set() if unified else {"light"})


def test_what_a_data_set_says_of_the_users_files_is_the_users_mistake(planned: Planned) -> None:
    body = DATA + "    def samples(self, *_): raise UserError('the files are not here')"
    with pytest.raises(UserError, match="the files are not here"):
        planned("dataset", body, datasets="mine,toy-data")


def test_a_broken_auxiliary_data_set_breaks_the_models_that_need_it(planned: Planned) -> None:
    body = (
        "class Textures(ToyData):\n    name, role = 'textures', 'auxiliary'\n"
        "    listed = []\n"
        "    def samples(self, *_):\n"
        "        self.listed.append(0)\n"
        "        fail(len(self.listed))\n"
        "class Mine(ToyModel):\n    name, auxiliary = 'mine', ('textures',)\n"
    )
    hook = "\n@hookimpl\ndef adbench_datasets(): return [Textures]\n"
    made = planned("model", body, hook, models="mine:gain=[1,2],toy-mean", augmenters="none")
    failed, ran = split(made)
    assert {t.model.label for t in failed} == {"mine", "mine(gain=2.0)"}
    assert {t.model.name for t in ran} == {"toy-mean"}
    # It was listed for one of them.
    assert reason(made) == "KeyError: 1"


def test_overrides_of_a_broken_component(planned: Planned) -> None:
    body = (
        "class Mine(ToyScorer):\n    name = 'mine'\n"
        "    def __init__(self, *, pool: str = 'max'): fail()"
    )
    overrides = {"dark": {"mine.pool": "mean", "toy-mean.gain": 2}}
    failed, ran = split(planned("scorer", body, scorers="mine,toy-map", overrides=overrides))
    assert {t.scorer.name for t in failed} == {"mine"}
    gains = {(t.category, t.model.params.get("gain")) for t in ran if t.model.name == "toy-mean"}
    assert gains == {("dark", 2.0), ("light", 1.0)}


# ---------------------------------------------------------------- broken plugins


def test_what_a_broken_plugin_may_have_brought_fails_alone(
    plugin_file: PluginFile, toys: str
) -> None:
    names = [toys, plugin_file("broken", "import no_such_module")]
    keys = {
        **ALL,
        "models": "toy-mean,theirs:size=[3,4]",
        "preprocessors": "none,theirs",
        "datasets": "theirs/part,toy-data/dark",
        "scorers": "toy-map,theirs",
        "augmenters": "none",
        "set": {"theirs.size": 3},
        "overrides": {"dark": {"theirs.size": 4}},
    }
    asked = suite.validate({"plugins": names, **keys}, "test")
    made = plan.make(asked, plugins.sound(asked.plugins), Locations())
    failed, ran = split(made)
    assert [t.title for t in ran] == ["toy-data/dark · none · toy-mean · toy-map · seed 0"]
    (bundle,) = made.bundles
    assert bundle.plugins == (toys,)
    assert all("theirs" in t.title for t in failed)
    for failure in made.failed.values():
        assert "ModuleNotFoundError: No module named 'no_such_module'" in failure.message
        assert "'theirs'" in failure.message
