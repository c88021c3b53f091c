from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

import toys as toy_module
from adbench_harness.basic.backbones import EfficientNetLite0
from adbench_harness.downloads.fetcher import Fetcher
from adbench_harness.errors import UserError
from adbench_harness.listener import Listener
from adbench_harness.planning import plan, plugins, suite
from adbench_harness.planning.locations import Locations
from adbench_harness.planning.plan import Plan
from adbench_harness.planning.plugins import Catalogue
from adbench_harness.results.trial import Trial

PluginFile = Callable[[str, str], str]


@pytest.fixture
def planned(catalogue: Catalogue, toys: str) -> Callable[..., Plan]:
    """Plans a suite of the toys; keywords are the suite's keys."""

    def make(*, locations: Locations | None = None, **keys: Any) -> Plan:
        asked = suite.validate({"plugins": [toys], **keys}, "test")
        return plan.make(asked, catalogue, locations or Locations())

    return make


@pytest.fixture
def refused(planned: Callable[..., Plan]) -> Callable[..., str]:
    """Plans a suite of the toys that is refused; the message."""

    def make(**keys: Any) -> str:
        with pytest.raises(UserError) as error:
            planned(**keys)
        assert "\n" not in str(error.value)
        return str(error.value)

    return make


def labels(made: Plan, what: str) -> list[str]:
    """The distinct labels of an axis, in the plan's order."""
    named = {
        "augmenter": lambda t: t.augmenter.label if t.augmenter else "none",
        "dataset": lambda t: f"{t.dataset.label}/{t.category}",
        "preprocessor": lambda t: t.preprocessor,
    }
    read = named.get(what, lambda t: getattr(t, what).label)
    return list(dict.fromkeys(read(trial) for trial in made.trials))


DARK = "toy-data/dark"


# ---------------------------------------------------------------- axes


def test_axes_that_nobody_names_hold_what_the_plugins_bring(planned: Callable[..., Plan]) -> None:
    made = planned()
    assert labels(made, "dataset") == ["toy-data/dark", "toy-data/light"]
    assert labels(made, "preprocessor") == ["none", "toy-dim"]
    assert labels(made, "model") == ["toy-mean", "toy-trained"]
    assert labels(made, "scorer") == ["toy-map"]
    assert labels(made, "augmenter") == ["none", "toy-square"]
    # mean takes no augmenter, trained takes one or none.
    assert len(made.trials) == 2 * 2 * (1 + 2)
    assert [len(bundle.trials) for bundle in made.bundles] == [3, 3, 3, 3]
    assert len({trial.id for trial in made.trials}) == len(made.trials)


def test_a_bundle_shares_its_images(planned: Callable[..., Plan]) -> None:
    for bundle in planned(seeds=2, split_seeds=2).bundles:
        shared = {(t.category, t.preprocessor, t.split_seed) for t in bundle.trials}
        assert len(shared) == 1


def test_components_off_by_default_can_be_named(planned: Callable[..., Plan]) -> None:
    made = planned(models="toy-raises", scorers="toy-fitted", datasets=DARK)
    assert labels(made, "model") == ["toy-raises"]
    assert labels(made, "scorer") == ["toy-fitted"]


def test_chains(planned: Callable[..., Plan]) -> None:
    made = planned(
        datasets=DARK, models="toy-mean", preprocessors="toy-dim+toy-dim:factor=0.25,none"
    )
    assert labels(made, "preprocessor") == ["toy-dim+toy-dim(factor=0.25)", "none"]


def test_grids_of_numbers_and_of_lists(planned: Callable[..., Plan]) -> None:
    made = planned(
        datasets=DARK,
        preprocessors="none",
        models=[{"name": "toy-mean", "gain": [1, 2], "layers": [["a"], ["b", "c"]]}],
    )
    assert labels(made, "model") == [
        "toy-mean",
        "toy-mean(layers=[b,c])",
        "toy-mean(gain=2.0)",
        "toy-mean(gain=2.0,layers=[b,c])",
    ]


def test_a_list_is_one_value_of_a_parameter_that_is_a_list(planned: Callable[..., Plan]) -> None:
    made = planned(datasets=DARK, preprocessors="none", models="toy-mean:layers=[b,c]")
    assert labels(made, "model") == ["toy-mean(layers=[b,c])"]


def test_set_reaches_a_component_wherever_it_is_used(planned: Callable[..., Plan]) -> None:
    made = planned(
        models="toy-mean",
        datasets=DARK,
        set={"toy-mean.gain": [2, 3], "preprocessor:toy-dim.factor": 0.1, "toy-map.pool": "mean"},
    )
    assert labels(made, "model") == ["toy-mean(gain=2.0)", "toy-mean(gain=3.0)"]
    assert labels(made, "preprocessor") == ["none", "toy-dim(factor=0.1)"]
    assert labels(made, "scorer") == ["toy-map(pool=mean)"]


def test_set_wins_over_what_is_written_on_the_axis(planned: Callable[..., Plan]) -> None:
    made = planned(models="toy-mean:gain=5,toy-mean", datasets=DARK, set={"toy-mean.gain": 2})
    assert labels(made, "model") == ["toy-mean(gain=2.0)"]


@pytest.mark.parametrize(
    "twice",
    [
        {"models": "toy-mean,toy-mean"},
        {"models": "toy-mean:gain=[2,2]"},
        {"seeds": [3, 3], "models": "toy-mean"},
        {"datasets": "toy-data,toy-data/dark", "models": "toy-mean"},
        {"preprocessors": "none,none", "models": "toy-mean"},
    ],
)
def test_what_is_asked_for_twice_runs_once(planned: Callable[..., Plan], twice: Any) -> None:
    made = planned(**twice)
    ids = [trial.id for trial in made.trials]
    assert len(ids) == len(set(ids))
    assert [t.id for b in made.bundles for t in b.trials] == ids


def test_seeds_and_split_seeds_multiply(planned: Callable[..., Plan]) -> None:
    made = planned(
        datasets=DARK, models="toy-mean", preprocessors="none", seeds=2, split_seeds=[5, 7]
    )
    assert [(t.split_seed, t.seed) for t in made.trials] == [(5, 0), (5, 1), (7, 0), (7, 1)]


def test_finished_trials_are_in_no_bundle_that_is_left(planned: Callable[..., Plan]) -> None:
    made = planned(preprocessors="none")
    dark, light = made.bundles
    assert made.left(()) == (dark, light)
    some = made.left([dark.trials[0].id, "something else"])
    assert some == (replace(dark, trials=dark.trials[1:]), light)
    assert made.left([trial.id for trial in dark.trials]) == (light,)
    assert made.left([trial.id for trial in made.trials]) == ()


def test_metrics_carry_their_versions(planned: Callable[..., Plan]) -> None:
    made = planned(datasets=DARK, models="toy-mean", metrics="image_auroc,aupro")
    assert made.trials[0].metrics == ("image_auroc@1", "aupro@1")


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"models": "toy-maen"}, "unknown model 'toy-maen' (did you mean 'toy-mean'?)"),
        ({"models": "none"}, "'none' is not a model"),
        ({"models": "toy-mean+toy-trained"}, "only preprocessors can be chained with '+'"),
        ({"models": "toy-mean:gian=2"}, "has no parameter 'gian' (did you mean 'gain'?)"),
        ({"metrics": "image_aurok"}, "unknown metric 'image_aurok' (did you mean 'image_auroc'?)"),
        ({"recipe": "mine"}, "unknown recipe 'mine'"),
        (
            {"datasets": "toy-data/drak"},
            "data set 'toy-data' has no category 'drak' (did you mean 'dark'?); it has dark, light",
        ),
        ({"datasets": "toy-dat"}, "unknown dataset 'toy-dat' (did you mean 'toy-data'?)"),
        ({"datasets": "toy-data+toy-data"}, "a data set is a single name"),
        ({"datasets": "mvtec_ad"}, "data set 'mvtec_ad' was not found; "),
        ({"set": {"toy-maen.gain": 2}}, "no component 'toy-maen' (did you mean 'toy-mean'?)"),
        ({"set": {"toy-mean.gian": 2}}, "has no parameter 'gian' (did you mean 'gain'?)"),
        ({"set": {"gain": 2}}, "--set gain: write COMPONENT.PARAMETER=VALUE"),
        ({"set": {"modell:toy-mean.gain": 2}}, "with a kind of dataset, preprocessor, augmenter"),
        ({"set": {"toy-mean.gain": "a"}}, "'gain' cannot be 'a'"),
        ({"set": {"folder.table": "x"}}, "this run does not use the dataset 'folder'"),
        (
            {"models": "toy-mean", "set": {"toy-trained.stop_at": 1}},
            "this run does not use the model 'toy-trained'",
        ),
    ],
)
def test_mistakes_name_the_thing_and_the_nearest(
    refused: Callable[..., str], keys: dict[str, Any], reason: str
) -> None:
    assert reason in refused(**keys)


def test_a_name_that_two_kinds_share_must_say_which(
    plugin_file: PluginFile, toys: str, planned: Callable[..., Plan]
) -> None:
    body = (
        "from adbench_harness.basic.scorers import MapScorer\n"
        "class Twin(MapScorer):\n    name = 'toy-mean'\n"
        "@hookimpl\ndef adbench_scorers(): return [Twin]"
    )
    names = [toys, plugin_file("twin", body)]
    catalogue = plugins.load(names)

    def make(key: str) -> Plan:
        keys = {"plugins": names, "datasets": DARK, "set": {key: 3}}
        return plan.make(suite.validate(keys, "test"), catalogue, Locations())

    with pytest.raises(UserError) as error:
        make("toy-mean.sigma")
    assert str(error.value) == (
        "--set toy-mean.sigma: 'toy-mean' is a model and a scorer; write "
        "model:toy-mean.sigma or scorer:toy-mean.sigma"
    )
    assert "toy-mean(sigma=3.0)" in labels(make("scorer:toy-mean.sigma"), "scorer")
    assert "toy-mean(gain=3.0)" in labels(make("model:toy-mean.gain"), "model")


def test_a_plugin_without_a_model_and_nothing_that_fills_the_gap(plugin_file: PluginFile) -> None:
    path = plugin_file("empty", "")
    catalogue = plugins.load([path])
    with pytest.raises(UserError, match="none of empty provides a model; name a plugin that does"):
        plan.make(suite.validate({"plugins": [path]}, "test"), catalogue, Locations())


def test_a_data_folder_without_the_layout(refused: Callable[..., str], tmp_path: Path) -> None:
    locations = Locations(datasets={"toy-data": str(tmp_path)})
    assert f"'{tmp_path}' holds neither" in refused(datasets="toy-data", locations=locations)
    locations = Locations(datasets={"toy-data": str(tmp_path / "nowhere")})
    assert "nowhere' is not a folder; correct --data toy-data=DIR" in refused(locations=locations)
    locations = Locations(datasets={"mvtec_ad": str(tmp_path)})
    assert str(tmp_path) in refused(datasets="mvtec_ad", locations=locations)


@pytest.mark.parametrize("gone", ["train", "test"])
def test_a_category_without_a_part(
    planned: Callable[..., Plan], refused: Callable[..., str], gone: str, tmp_path: Path
) -> None:
    toy_module.ToyData().build(tmp_path)
    shutil.rmtree(tmp_path / "dark" / gone)
    message = refused(datasets=DARK, locations=Locations(datasets={"toy-data": str(tmp_path)}))
    assert f"data set 'toy-data', category 'dark': no {gone} image under '{tmp_path}'" in message


# ---------------------------------------------------------------- what fits together


def test_left_out_says_why(planned: Callable[..., Plan]) -> None:
    assert planned().left_out == (
        "toy-mean x toy-square: it takes no augmenter",
        "toy-classes: supports classification, not unsupervised",
    )
    assert planned(scorers="toy-map,own", models="toy-mean").left_out == (
        "toy-mean x toy-square: it takes no augmenter",
    )


def test_a_model_that_no_brought_scorer_fits_gets_one_of_basic(
    planned: Callable[..., Plan],
) -> None:
    made = planned(protocol="classification")
    assert labels(made, "model") == ["toy-classes"]
    assert labels(made, "scorer") == ["softmax"]
    assert {trial.protocol for trial in made.trials} == {"classification"}
    assert "toy-classes x toy-map: the model does not emit AnomalyMap" in made.left_out


def test_a_named_scorer_is_never_replaced(refused: Callable[..., str]) -> None:
    message = refused(scorers="softmax", models="toy-mean,toy-trained")
    assert message == (
        "scorer 'softmax' fits no chosen model: it accepts DefectLogits; "
        "toy-mean emits AnomalyMap, ImageScore; toy-trained emits AnomalyMap, ImageScore"
    )


def test_one_misfit_among_fitting_scorers_is_refused(refused: Callable[..., str]) -> None:
    assert "scorer 'softmax' fits no chosen model" in refused(scorers="own,softmax")


def test_the_wrong_protocol_is_not_blamed_on_the_scorer(refused: Callable[..., str]) -> None:
    message = refused(scorers="toy-map", models="toy-mean", protocol="classification")
    assert "toy-mean: supports unsupervised, not classification" in message
    assert "fits no chosen model" not in message


def test_an_augmenter_that_no_model_takes_is_refused(refused: Callable[..., str]) -> None:
    message = refused(models="toy-mean", augmenters="toy-square")
    assert "augmenter 'toy-square'" in message
    assert "toy-mean" in message


REQUIRING = """
from toys import ToyTrained
class Needs(ToyTrained):
    name = "needs"
    augmentation = "required"
@hookimpl
def adbench_models(): return [Needs]
"""


def test_a_model_that_needs_an_augmenter(plugin_file: PluginFile, toys: str) -> None:
    path = plugin_file("needs", REQUIRING)
    keys = {"plugins": [path], "datasets": "toy-data/dark"}
    with pytest.raises(UserError, match="needs: needs an augmenter, and none was chosen"):
        plan.make(suite.validate({"plugins": [path]}, "test"), plugins.load([path]), Locations())
    keys = {"plugins": [path, toys], "datasets": DARK, "models": "needs", "preprocessors": "none"}
    made = plan.make(suite.validate(keys, "test"), plugins.load([path, toys]), Locations())
    assert labels(made, "augmenter") == ["toy-square"]


def test_required_plugins_fill_gaps_and_make_no_axis(plugin_file: PluginFile, toys: str) -> None:
    body = (
        f"requires = ({toys!r},)\n"
        "from toys import ToyPreprocessor\n"
        "class Own(ToyPreprocessor):\n    name = 'own-dim'\n"
        "@hookimpl\ndef adbench_preprocessors(): return [Own]"
    )
    path = plugin_file("gap", body)
    keys = {"plugins": [path]}
    made = plan.make(suite.validate(keys, "test"), plugins.load([path]), Locations())
    assert labels(made, "preprocessor") == ["none", "own-dim"]
    assert labels(made, "augmenter") == ["none"]
    assert labels(made, "model") == ["toy-mean", "toy-trained"]
    assert labels(made, "scorer") == ["toy-map"]
    assert labels(made, "dataset") == ["toy-data/dark", "toy-data/light"]


def test_auxiliary_data_is_not_tested_on_and_is_in_the_id(
    plugin_file: PluginFile, tmp_path: Path
) -> None:
    body = (
        "from toys import ToyData, ToyModel\n"
        "class Textures(ToyData):\n    name, role = 'textures', 'auxiliary'\n"
        "class Uses(ToyModel):\n    name, auxiliary = 'uses', ('textures',)\n"
        "@hookimpl\ndef adbench_datasets(): return [ToyData, Textures]\n"
        "@hookimpl\ndef adbench_models(): return [Uses, ToyModel]\n"
    )
    path = plugin_file("aux", body)
    catalogue = plugins.load([path])
    toy_module.ToyData().build(tmp_path / "textures")

    def make(**keys: Any) -> Plan:
        asked = suite.validate({"plugins": [path], "preprocessors": "none", **keys}, "test")
        return plan.make(asked, catalogue, Locations(datasets={"textures": f"{tmp_path}/textures"}))

    made = make(models="uses,toy-mean", scorers="map")
    assert labels(made, "dataset") == ["toy-data/dark", "toy-data/light"]
    assert [len(t.auxiliary) for t in made.trials] == [1, 0, 1, 0]
    assert made.bundles[0].auxiliary == (("textures", f"{tmp_path}/textures"),)
    image = tmp_path / "textures/dark/train/good/0.png"
    shutil.copy(image.with_name("1.png"), image)
    again = make(models="uses,toy-mean", scorers="map")
    same = [a.id == b.id for a, b in zip(made.trials, again.trials, strict=True)]
    assert same == [False, True, False, True]
    with pytest.raises(UserError, match="'textures' is auxiliary"):
        make(datasets="textures")


# ---------------------------------------------------------------- overrides and recipes


def test_overrides_change_a_category_and_not_its_row(planned: Callable[..., Plan]) -> None:
    made = planned(
        models="toy-mean:layers=[x]",
        preprocessors="none",
        overrides={"dark": {"toy-mean.gain": 3, "scorer:toy-map.pool": "mean"}},
    )
    dark, light = made.trials
    assert (dark.model.params["gain"], light.model.params["gain"]) == (3.0, 1.0)
    assert (dark.scorer.params["pool"], light.scorer.params["pool"]) == ("mean", "max")
    assert dark.model.params["layers"] == light.model.params["layers"] == ["x"]
    assert dark.model.label == light.model.label == "toy-mean(layers=[x])"


def test_overrides_keep_a_nested_component(planned: Callable[..., Plan]) -> None:
    made = planned(
        models="toy-wrapper:detector=toy-mean(gain=2)",
        preprocessors="none",
        overrides={"dark": {"toy-wrapper.scorer": "toy-map"}},
    )
    dark = made.trials[0].model.params
    assert dark["detector"]["params"]["gain"] == 2.0
    assert dark["scorer"]["name"] == "toy-map"


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"drak": {"toy-mean.gain": 3}}, "'drak' (did you mean 'dark'?)"),
        ({"dark": {"toy-mean.gian": 3}}, "no parameter 'gian'"),
        ({"dark": {"toy-mean.gain": "a"}}, "'gain' cannot be 'a'"),
        ({"dark": {"toy-dim.factor": 0.1}}, "toy-dim"),
        ({"dark": {"toy-trained.stop_at": 1}}, "toy-trained"),
    ],
)
def test_overrides_that_change_nothing_are_refused(
    refused: Callable[..., str], overrides: Any, reason: str
) -> None:
    message = refused(models="toy-mean", overrides=overrides)
    assert reason in message


def test_overrides_of_a_category_that_was_not_chosen_are_fine(
    planned: Callable[..., Plan],
) -> None:
    made = planned(models="toy-mean", datasets=DARK, overrides={"light": {"toy-mean.gain": 3}})
    assert {trial.model.params["gain"] for trial in made.trials} == {1.0}


RECIPE = """
from adbench_harness.types import Recipe
@hookimpl
def adbench_recipes():
    return [Recipe("paper", "As printed.", {
        "models": ["toy-mean"], "preprocessors": ["none"], "datasets": ["toy-data"],
        "set": {"toy-mean.gain": 2, "toy-mean.layers": ["p"]},
        "overrides": {"dark": {"toy-mean.gain": 4}, "bottle": {"toy-mean.gain": 5}},
        "evaluation": {"border": "crop"}, "seeds": 2,
    }), Recipe("broken", "As misprinted.", {"modells": ["toy-mean"]})]
"""


@pytest.fixture
def recipe(plugin_file: PluginFile, toys: str) -> Callable[..., Plan]:
    names = [toys, plugin_file("paper", RECIPE)]
    catalogue = plugins.load(names)

    def make(**keys: Any) -> Plan:
        asked = suite.validate({"plugins": names, "recipe": "paper", **keys}, "test")
        return plan.make(asked, catalogue, Locations())

    return make


def test_a_recipe_fills_in_what_the_suite_leaves_open(recipe: Callable[..., Plan]) -> None:
    made = recipe()
    assert labels(made, "preprocessor") == ["none"]
    assert {tuple(t.model.params["layers"]) for t in made.trials} == {("p",)}
    assert [t.model.params["gain"] for t in made.trials] == [4.0, 4.0, 2.0, 2.0]
    assert {t.evaluation.border for t in made.trials} == {"crop"}


def test_what_the_user_writes_wins_over_the_recipe_key_by_key(recipe: Callable[..., Plan]) -> None:
    made = recipe(
        seeds=[7],
        datasets="toy-data/light",
        set={"toy-mean.gain": 9},
        evaluation={"size": 20},
        preprocessors="none,toy-dim",
    )
    assert labels(made, "model") == ["toy-mean(gain=9.0,layers=[p])"]
    assert labels(made, "preprocessor") == ["none", "toy-dim"]
    assert [t.seed for t in made.trials] == [7, 7]
    assert (made.trials[0].evaluation.size, made.trials[0].evaluation.border) == (20, "crop")


def test_what_the_user_sets_wins_over_what_the_recipe_writes_on_an_axis() -> None:
    keys = {"recipe": "patchcore-10%", "backbone": "embedded", "datasets": "toy-data/dark"}
    names = ["patchcore", toy_module.__file__]
    catalogue = plugins.load(names)
    for written, ratio in (({}, 0.1), ({"set": {"patchcore.coreset_ratio": 0.25}}, 0.25)):
        asked = suite.validate({"plugins": names, **keys, **written}, "test")
        made = plan.make(asked, catalogue, Locations())
        assert {trial.model.params["coreset_ratio"] for trial in made.trials} == {ratio}
        assert {trial.backbone for trial in made.trials} == {"embedded"}


def test_a_broken_recipe_is_named(recipe: Callable[..., Plan]) -> None:
    with pytest.raises(UserError, match="recipe 'broken': unknown key 'modells'"):
        recipe(recipe="broken")


# ---------------------------------------------------------------- backbones


BACKED = """
from typing import Annotated
from toys import ToyModel
from adbench_harness.types import FeatureRequest
class Backed(ToyModel):
    name = "backed"
    def __init__(self, *, backbone: str = "resnet18", layers: tuple[str, ...] = ("layer1",)):
        self.feature_requests = (FeatureRequest(backbone, layers),)
@hookimpl
def adbench_models(): return [Backed]
"""


@pytest.fixture
def backed(plugin_file: PluginFile, toys: str) -> Callable[..., Plan]:
    names = [toys, plugin_file("backed", BACKED)]
    catalogue = plugins.load(names)

    def make(locations: Locations | None = None, **keys: Any) -> Plan:
        content = {"models": "backed", "datasets": DARK, "preprocessors": "none", **keys}
        asked = suite.validate({"plugins": names, **content}, "test")
        return plan.make(asked, catalogue, locations or Locations())

    return make


@pytest.fixture
def weights(tmp_path: Path) -> str:
    (tmp_path / "resnet18-mine.pth").write_bytes(b"not read by a plan")
    return str(tmp_path)


def test_a_default_backbone_that_is_not_here_falls_back_with_one_note(
    backed: Callable[..., Plan],
) -> None:
    made = backed(models="backed:layers=[[layer1],[layer2]]", seeds=2)
    assert {trial.backbone for trial in made.trials} == {"efficientnet_lite0"}
    ((used,),) = {trial.weights for trial in made.trials}
    assert used.verified
    assert used.sha256 == EfficientNetLite0.weights.sha256
    (note,) = made.notes
    assert note == (
        "backbone: efficientnet_lite0, since the weights of backed's own resnet18 were not found; "
        "'adbench weights fetch resnet18' downloads them"
    )
    assert labels(made, "model") == ["backed", "backed(layers=[layer2])"]


def test_a_precision_is_another_trial_where_there_is_a_backbone(
    backed: Callable[..., Plan],
) -> None:
    def ids(**keys: Any) -> dict[str, str]:
        made = backed(models="backed,toy-mean", scorers="toy-map", augmenters="none", **keys)
        return {trial.model.name: trial.id for trial in made.trials}

    usual, rounded = ids(), ids(precision="bfloat16")
    assert ids(precision="float32") == usual
    assert rounded["backed"] != usual["backed"]
    assert rounded["toy-mean"] == usual["toy-mean"]
    made = backed(precision="bfloat16")
    assert {trial.backbone for trial in made.trials} == {"efficientnet_lite0(precision=bfloat16)"}
    with pytest.raises(UserError, match="'precision': input should be 'float32' or 'bfloat16'"):
        backed(precision="float16")


def test_a_default_backbone_that_is_here_is_used(backed: Callable[..., Plan], weights: str) -> None:
    made = backed(Locations(weights=weights))
    (found,) = made.trials[0].weights
    assert (found.backbone, found.path) == ("resnet18", f"{weights}/resnet18-mine.pth")
    assert not found.verified
    assert made.notes == ()


@pytest.mark.parametrize(
    "named",
    [
        {"backbone": "resnet18"},
        {"backbone": "resnet34"},
        {"models": "backed:backbone=resnet34"},
        {"models": "backed:backbone=resnet18"},
        {"models": [{"name": "backed", "backbone": "resnet18"}]},
        {"set": {"backed.backbone": "resnet18"}},
        {"overrides": {"dark": {"backed.backbone": "resnet34"}}},
        {"overrides": {"dark": {"backed.backbone": "resnet18"}}},
    ],
)
def test_a_named_backbone_never_falls_back(backed: Callable[..., Plan], named: Any) -> None:
    name = "resnet34" if "resnet34" in str(named) else "resnet18"
    with pytest.raises(UserError, match=f"the weights of backbone '{name}' were not found; run"):
        backed(**named)


def test_a_file_is_the_named_backbones_whatever_its_name(
    backed: Callable[..., Plan], tmp_path: Path
) -> None:
    file = tmp_path / "resnet34-x.safetensors"
    file.write_bytes(b"not read by a plan")
    here = Locations(weights=str(file))

    def found(made: Plan) -> set[tuple[str, str | None]]:
        return {(used.backbone, used.path) for trial in made.trials for used in trial.weights}

    assert found(backed(here, backbone="resnet18")) == {("resnet18", str(file))}
    assert found(backed(here, models="backed:backbone=resnet18")) == {("resnet18", str(file))}
    # Of two that are named, it is the one's that its name says.
    both = "backed:backbone=[resnet34,embedded]"
    assert found(backed(here, models=both)) == {("resnet34", str(file)), ("embedded", None)}
    with pytest.raises(UserError, match="the weights of backbone 'resnet18' were not found"):
        backed(here, models="backed:backbone=[resnet18,resnet34]")
    # A default is not what the file was named for.
    assert {trial.backbone for trial in backed(here).trials} == {"efficientnet_lite0"}


def test_every_recipe_in_the_tree_names_its_backbone() -> None:
    catalogue = plugins.load(["patchcore", "bgfilter"])
    assert catalogue.offers["recipe"]
    for name in catalogue.offers["recipe"]:
        asked = suite.validate({"plugins": ["patchcore", "bgfilter"], "recipe": name}, "test")
        with pytest.raises(UserError, match=r"weights of backbone '\w+' were not found"):
            plan.make(asked, catalogue, Locations())


def test_a_backbone_per_model_wins_over_one_for_all(
    backed: Callable[..., Plan], weights: str
) -> None:
    made = backed(
        Locations(weights=weights), backbone="embedded", models="backed:backbone=resnet18"
    )
    assert made.trials[0].backbone == "resnet18"
    assert backed(backbone="embedded").trials[0].backbone == "embedded"
    assert backed(backbone="embedded").notes == ()


def test_backbones_make_a_grid(backed: Callable[..., Plan], weights: str) -> None:
    made = backed(Locations(weights=weights), set={"backed.backbone": ["resnet18", "embedded"]})
    assert [trial.backbone for trial in made.trials] == ["resnet18", "embedded"]


def test_layers_that_a_backbone_lacks(backed: Callable[..., Plan]) -> None:
    with pytest.raises(UserError, match="backbone 'embedded' has no layer layer9; it has layer1"):
        backed(models="backed:layers=[layer9]", backbone="embedded")
    with pytest.raises(UserError, match=r"unknown backbone 'resnet81' \(did you mean 'resnet18'"):
        backed(backbone="resnet81")


def test_fetch_gets_what_is_missing_instead_of_falling_back(
    backed: Callable[..., Plan], tmp_path: Path
) -> None:
    asked = []

    class Fetching(Fetcher):
        def weights(self, backbones: Sequence[Any], folder: Path) -> list[Path]:
            (backbone,) = backbones
            asked.append((backbone.name, folder))
            target = folder / backbone.weights.filename
            target.write_bytes(b"")
            return [target]

    fetcher = Fetching(accepted=True, listener=Listener())
    made = backed(Locations(weights=str(tmp_path), fetch=fetcher))
    assert asked == [("resnet18", tmp_path)]
    assert made.trials[0].backbone == "resnet18"


# ---------------------------------------------------------------- ids


def ids(made: Plan) -> set[str]:
    return {trial.id for trial in made.trials}


def test_ids_are_the_same_in_another_process_and_another_folder(
    planned: Callable[..., Plan], toys: str, tmp_path: Path
) -> None:
    toy_module.ToyData().build(tmp_path)
    code = (
        "import sys, json\n"
        "from adbench_harness.planning import locations, plan, plugins, suite\n"
        "asked = suite.validate({'plugins': [sys.argv[1]]}, 'x')\n"
        "where = locations.Locations(datasets={'toy-data': sys.argv[2]})\n"
        "made = plan.make(asked, plugins.load(asked.plugins), where)\n"
        "print(json.dumps([t.id for t in made.trials]))"
    )
    command = [sys.executable, "-c", code, toys, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [trial.id for trial in planned().trials]


def test_ids_follow_the_data_the_weights_and_the_settings(
    backed: Callable[..., Plan], weights: str, tmp_path: Path
) -> None:
    base = backed(Locations(weights=weights))
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.copy(f"{weights}/resnet18-mine.pth", moved / "resnet18-renamed.pth")
    assert ids(backed(Locations(weights=str(moved)))) == ids(base)
    others = [
        backed(),
        backed(Locations(weights=weights), evaluation={"size": 20}),
        backed(Locations(weights=weights), evaluation={"border": "crop"}),
        backed(Locations(weights=weights), metrics="aupro"),
        backed(Locations(weights=weights), seeds=[1]),
    ]
    (moved / "resnet18-renamed.pth").write_bytes(b"other numbers")
    others.append(backed(Locations(weights=str(moved))))
    toy_module.ToyData().build(tmp_path / "data")
    image = tmp_path / "data/dark/test/good/0.png"
    shutil.copy(image.with_name("1.png"), image)
    data = {"toy-data": str(tmp_path / "data")}
    others.append(backed(Locations(weights=weights, datasets=data)))
    assert len(set.union(ids(base), *map(ids, others))) == 1 + len(others)


def test_every_planned_trial_survives_json(planned: Callable[..., Plan]) -> None:
    for keys in ({}, {"protocol": "classification"}, {"models": "toy-wrapper"}):
        for trial in planned(**keys).trials:
            copy = Trial.from_json(json.loads(json.dumps(asdict(trial))))
            assert copy == trial
            assert copy.id == trial.id
