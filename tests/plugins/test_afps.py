from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy.stats import norm

from adbench_afps import adbench_recipes, adbench_reported
from adbench_afps.model import AFPS
from adbench_afps.selection import draw_distinct, gaussian_weights
from adbench_afps.subsets import Subset
from adbench_afps.vit import PatchViT, sincos
from adbench_harness import cli
from adbench_harness.errors import UserError
from adbench_harness.nn.inputs import Resize
from adbench_harness.planning import grammar, parameters, plugins, suite
from adbench_harness.running import cost
from adbench_harness.running.checkpoint import FileCheckpoint
from adbench_harness.testing import parametrize_with_checks
from adbench_harness.testing.fitting import textures, tools, train
from adbench_harness.types import (
    Batch,
    DefectLogits,
    InputSpec,
    Level,
    Model,
    Outputs,
    PatchEmbeddings,
    PatchGaussian,
    Scores,
)
from adbench_padim.model import PaDiM
from adbench_padim.scorers import Mahalanobis
from adbench_patchcore.model import PatchCore
from adbench_patchcore.scorers import NearestNeighbour


def small(**params):
    return PaDiM(**{"dimensions": 32, "resize": 64, "crop": None, **params})


def afps(**params):
    parts = {"detector": small(), "scorer": Mahalanobis(), "epochs": 2}
    return AFPS(**{**parts, **params})


class OnPaDiM(AFPS):
    """AFPS with its components at hand, for the checks."""

    xfail: ClassVar = {}
    check_parameters: ClassVar = {}

    def __init__(self, *, positions: str = "none", resize: Resize = 64) -> None:
        detector = small(resize=resize)
        super().__init__(detector=detector, scorer=Mahalanobis(), positions=positions, epochs=2)


@parametrize_with_checks([OnPaDiM])
def test_conformance(component, check):
    check(component)


# ---------------------------------------------------------------- selection


def noise(images, cells, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.empty(images, cells, dtype=torch.float64).exponential_(generator=draw)


@pytest.mark.parametrize(("row", "column", "sd"), [(10, 14, 0.1), (0, 27, 0.3), (19, 3, 0.02)])
def test_weights_are_the_rounded_normals_mass(row, column, sd):
    height, width = 20, 28
    weights = gaussian_weights(torch.tensor([row * width + column]), (height, width), sd)
    masses = [
        norm.cdf(np.arange(side) + 0.5, centre, sd * side)
        - norm.cdf(np.arange(side) - 0.5, centre, sd * side)
        for side, centre in ((height, row), (width, column))
    ]
    np.testing.assert_allclose(weights.exp()[0], np.outer(*masses).flatten(), atol=1e-12)


def test_far_cells_keep_an_order():
    weights = gaussian_weights(torch.tensor([0]), (1, 50), 0.005)[0]
    assert weights.isfinite().all()
    assert (weights.diff() < 0).all()


@pytest.mark.parametrize("sd", [0.1, 0.25])
def test_patches_spread_as_asked(sd):
    side, images = 41, 4000
    centres = torch.full((images,), 20 * side + 20)
    weights = gaussian_weights(centres, (side, side), sd)
    places = draw_distinct(weights, noise(images, side * side), 1)[:, 0]
    cells = np.arange(side)
    mass = norm.cdf(cells + 0.5, 20, sd * side) - norm.cdf(cells - 0.5, 20, sd * side)
    mass /= mass.sum()  # what falls outside is drawn again
    spread = np.sqrt((mass * (cells - 20) ** 2).sum())
    for axis in (places // side, places % side):
        assert axis.double().mean() == pytest.approx(20, abs=4 * spread / np.sqrt(images))
        assert axis.double().std() == pytest.approx(spread, rel=0.05)


def literal(centre, size, sd, count, rng):
    """The paper's words: draw, round, reject what is outside or there already, until N."""
    found = {}
    while len(found) < count:
        row, column = (round(rng.normal(c, sd * s)) for c, s in zip(centre, size, strict=True))
        if 0 <= row < size[0] and 0 <= column < size[1]:
            found[row * size[1] + column] = None
    return list(found)


def test_one_draw_has_the_law_of_repeated_draws():
    size, centre, sd, count, images = (6, 8), (1, 5), 0.2, 10, 4000
    rng = np.random.default_rng(0)
    expected = np.zeros((2, 48))
    for _ in range(images):
        places = literal(centre, size, sd, count, rng)
        expected[0, places] += 1
        expected[1, places[count - 1]] += 1
    weights = gaussian_weights(torch.full((images,), centre[0] * 8 + centre[1]), size, sd)
    drawn = draw_distinct(weights, noise(images, 48), count)
    found = np.stack([np.bincount(p.flatten(), minlength=48) for p in (drawn, drawn[:, -1])])
    shares = (expected + found) / 2 / images
    deviation = np.sqrt(2 * shares * (1 - shares) / images)
    assert (np.abs(found - expected) / images <= 4.5 * deviation + 1e-9).all()


@pytest.mark.parametrize("sd", [1e-3, 0.2, 1.0])
@pytest.mark.parametrize("count", [1, 250, 3136, 5000])
def test_patches_are_distinct_and_inside(count, sd):
    centres = torch.tensor([0, 55, 1600, 3135])
    weights = gaussian_weights(centres, (56, 56), sd)
    places = draw_distinct(weights, noise(4, 3136), count)
    assert places.shape == (4, min(count, 3136))
    assert places.min() >= 0
    assert places.max() < 3136
    assert all(len(set(row.tolist())) == places.shape[1] for row in places)
    if sd == 1e-3:
        assert (places[:, 0] == centres).all()


def test_cells_without_weight_are_never_drawn():
    weights = torch.zeros(2, 6, dtype=torch.float64)
    weights[:, 4:] = -torch.inf
    assert draw_distinct(weights, noise(2, 6), 6).sort().values.tolist() == [[0, 1, 2, 3]] * 2


# ---------------------------------------------------------------- the classifier


@pytest.mark.parametrize("patches", [10, 100])
def test_linear_layers_cost_131072_multiply_adds_a_token(patches):
    network = PatchViT(2)
    seen = []
    for module in network.blocks.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(
                lambda layer, _, out: seen.append(layer.in_features * out.shape[1] * out.shape[2])
            )
    counted = cost.flops(lambda: network(torch.zeros(1, patches, 64)))
    assert sum(seen) == 131_072 * patches
    attention = 4 * 2 * 64 * patches**2
    assert counted == 2 * (131_072 * patches + attention + 64 * 2)


def test_tokens_are_a_set():
    network = PatchViT(3).eval()
    tokens = torch.randn(2, 20, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network(tokens), network(tokens.flip(1)), rtol=1e-4, atol=1e-5)


def test_sincos_tells_every_place_from_every_other():
    places = sincos(7, 9)
    assert places.shape == (63, 64)
    assert torch.cdist(places, places).add(torch.eye(63)).min() > 0.1
    assert torch.equal(places[9 * 3 + 4, :32], places[9 * 3, :32])  # the row's half
    assert torch.equal(places[9 * 3 + 4, 32:], places[4, 32:])


# ---------------------------------------------------------------- the training set's parts


def alternating(count=12):
    images = torch.arange(count)[:, None, None, None].expand(-1, 3, 4, 4) / 255
    made = train(images, classes=True)
    made._classes = {place: place % 2 for place in range(count)}
    return made


@pytest.mark.parametrize("normal", [True, False])
def test_a_subset_is_one_kind_in_full_batches_with_its_handles(normal):
    whole = alternating()
    part = Subset(whole, normal)
    assert len(part) == 6
    batches = list(part.batches(4))
    assert [len(batch) for batch in batches] == [4, 2]
    places = [int(value) for batch in batches for value in (batch.images[:, 0, 0, 0] * 255).round()]
    assert places == list(range(0 if normal else 1, 12, 2))
    handles = {int(image.seeds[0]): image.handles for image in whole.batches(1)}
    for batch in batches:
        assert batch.handles == tuple(handles[int(seed)][0] for seed in batch.seeds)
        assert set(batch.classes.tolist()) == {int(not normal)}


def test_a_subset_is_shuffled_by_the_generator():
    part = Subset(alternating(), normal=False)

    def order(seed):
        batches = part.batches(6, torch.Generator().manual_seed(seed))
        return next(batches).seeds.tolist()

    assert order(1) == order(1)
    assert sorted(order(1)) == sorted(order(2))
    assert len({tuple(order(seed)) for seed in range(5)}) > 1


# ---------------------------------------------------------------- the model


class Corner(Model):
    """A detector whose embedding is the patch's mean colour; a batch's images as they are."""

    name, summary, version = "corner", "mean colours", 1
    emits = frozenset({PatchEmbeddings, PatchGaussian})
    input = InputSpec(64, None)

    def __init__(self, box=None, valid=None):
        self.box, self.valid = box, valid
        self.seen = []

    def fit(self, train, tools):
        self.seen = [value for batch in train.batches() for value in batch.classes.tolist()]

    def predict(self, batch):
        grid = torch.nn.functional.avg_pool2d(batch.images, 8).permute(0, 2, 3, 1)
        gaussian = PatchGaussian(((torch.zeros(3), torch.eye(3)),))
        level = Level(grid, self.box, self.valid)
        return Outputs((64, 64), PatchEmbeddings((level,)), gaussian)


def two_defects(count=12):
    """Small marks on grey, red ones or blue ones, and as many normal images."""
    images = torch.full((3 * count, 3, 64, 64), 0.3)
    draw = torch.Generator().manual_seed(0)
    for i in range(count, 3 * count):
        top, left = (8 * torch.randint(0, 8, (2,), generator=draw)).tolist()
        images[i, 0 if i < 2 * count else 2, top : top + 8, left : left + 8] = 0.9
    made = train(images, classes=True)
    made._classes = {place: place // count for place in range(3 * count)}
    made.classes = ("good", "blue", "red")  # 1 is blue here, whatever it looks like
    return made, images


def batch_of(images, seed=0):
    return Batch(images, torch.arange(len(images)) + seed)


def test_focused_patches_find_the_defect_type_that_random_ones_miss():
    made, images = two_defects()
    accuracy = {}
    for selection in ("afps", "random"):
        model = afps(detector=Corner(), selection=selection, patches=4, sd=0.05, epochs=40)
        with torch.random.fork_rng():
            model.fit(made, tools(None, 64))
        assert model.classes == ("blue", "red")
        with torch.no_grad():
            found = model.predict(batch_of(images[12:]))[DefectLogits].values.argmax(1)
        accuracy[selection] = (found == torch.arange(2).repeat_interleave(12)).double().mean()
    assert accuracy["afps"] > 0.95
    assert accuracy["random"] < 0.8


def test_the_detector_sees_normal_images_only():
    made, _ = two_defects()
    model = afps(detector=Corner())
    model.fit(made, tools(None, 64))
    assert model.detector.seen == [0] * 12


def test_worst_patch_is_the_maps_highest_cell():
    made, images = two_defects()
    model = afps(detector=Corner(), sd=1e-3, patches=1).fit(made, tools(None, 64))
    batch = batch_of(images[12:])
    weights = model._candidates(batch).weights
    changed = (torch.nn.functional.avg_pool2d(batch.images, 8) - 0.3).abs().sum(1).flatten(1)
    assert torch.equal(weights.argmax(1), changed.argmax(1))


def test_boxes_and_invalid_cells_are_respected():
    made, images = two_defects()
    valid = torch.ones(8, 8, dtype=torch.bool)
    valid[:4] = False
    model = afps(detector=Corner((0, 0, 64, 32), valid), sd=0.1).fit(made, tools(None, 64))
    outputs = model.detector.predict(batch_of(images[12:]))
    mark = torch.zeros(len(images[12:]), 64, 64)
    mark[:, 40, 31] = mark[:, 60, 60] = 1.0
    mark[:, 60, 60] = 2.0  # outside of the box
    mark[:, 0, 0] = 3.0  # in an invalid cell
    model.scorer = replace_map(mark)
    cells = model._scores(outputs).flatten(1).argmax(1)
    assert set(cells.tolist()) == {5 * 8 + 7}
    weights = model._candidates(batch_of(images[12:])).weights
    assert weights[:, :32].isneginf().all()
    assert weights[:, 32:].isfinite().all()


def replace_map(maps):
    scorer = Mahalanobis()
    scorer.score = lambda _: Scores(map=maps)
    return scorer


@pytest.mark.parametrize("selection", ["afps", "random"])
def test_patches_come_from_the_images_own_seed(selection):
    model = afps(selection=selection, patches=5)
    model.fit(train(textures(8, 64, blob=True), classes=True), tools(None, 64))
    images = textures(1, 64, seed=1).expand(4, -1, -1, -1)
    seeds = torch.tensor([3, 2**62, 3, 7])
    with torch.no_grad():
        values = model.predict(Batch(images, seeds))[DefectLogits].values
    torch.testing.assert_close(values[0], values[2])
    assert (values[0] - values[1]).abs().max() > 1e-4
    assert (values[0] - values[3]).abs().max() > 1e-4


@pytest.mark.parametrize(("dimensions", "kept"), [(16, 16), (64, 64), (100, 64)])
def test_embeddings_become_64_wide(dimensions, kept):
    model = afps(detector=small(dimensions=dimensions))
    images = textures(8, 64, blob=True)
    model.fit(train(images, classes=True), tools(None, 64))
    tokens = model._candidates(batch_of(images)).tokens
    assert tokens.shape == (8, 256, 64)
    embeddings = model.detector.predict(batch_of(images))[PatchEmbeddings].levels[0].values
    assert len(set(model.channels.tolist())) == kept
    assert torch.equal(tokens[..., :kept], embeddings.flatten(1, 2)[..., model.channels])
    assert not tokens[..., kept:].any()


def test_positions_are_added_to_tokens():
    made, images = two_defects()
    plain, placed = (
        afps(detector=Corner(), positions=positions).fit(made, tools(None, 64))
        for positions in ("none", "sincos")
    )
    batch = batch_of(images)
    added = placed._candidates(batch).tokens - plain._candidates(batch).tokens
    torch.testing.assert_close(added, sincos(8, 8).expand_as(added))


def test_patches_are_capped_at_the_grid():
    made, images = two_defects()
    model = afps(detector=Corner(), patches=1000).fit(made, tools(None, 64))
    first, other = (
        model.predict(batch_of(images[12:], seed))[DefectLogits].values for seed in (0, 50)
    )
    torch.testing.assert_close(first, other, rtol=1e-4, atol=1e-5)


class Stop(Exception):  # noqa: N818  # no error: the user stopped the run
    pass


@pytest.mark.parametrize("stop", [10, 17, 25])
def test_an_interrupted_training_goes_on_bit_for_bit(tmp_path, stop):
    made, images = two_defects(4)

    def trained(checkpoint, stop=None):
        def progress(done, total):
            if total == 25 and done == stop:
                raise Stop

        model = afps(detector=small(), epochs=25, batch=3)
        given = replace(
            tools(None, 64), checkpoint=checkpoint, progress=progress, log=checkpoint.log
        )
        return model.fit(made, given)

    once = FileCheckpoint(None)
    whole = trained(once)
    with pytest.raises(Stop):
        trained(FileCheckpoint(tmp_path / "a.pt"), stop)
    again = FileCheckpoint(tmp_path / "a.pt")
    resumed = trained(again)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    assert once.curves == again.curves
    assert len(once.curves["classifier loss"]) == 25
    assert torch.equal(
        whole.predict(batch_of(images))[DefectLogits].values,
        resumed.predict(batch_of(images))[DefectLogits].values,
    )


def test_a_trained_detector_keeps_its_own_state(tmp_path):
    class Trained(Corner):
        def fit(self, train, tools):
            self.found = tools.checkpoint.load()
            tools.checkpoint.save({"weights": 7})

    made, _ = two_defects(4)
    for expected in (None, {"weights": 7}):
        model = afps(detector=Trained(), epochs=10)
        checkpoint = FileCheckpoint(tmp_path / "a.pt")
        model.fit(made, replace(tools(None, 64), checkpoint=checkpoint))
        assert model.detector.found == expected
    assert set(FileCheckpoint(tmp_path / "a.pt").load()) == {"detector", "classifier"}


def test_fitting_leaves_the_global_generator_alone():
    made, _ = two_defects(4)
    before = torch.get_rng_state()
    afps(detector=Corner()).fit(made, tools(None, 64))
    assert torch.equal(before, torch.get_rng_state())


# ---------------------------------------------------------------- what does not fit


def test_the_detectors_needs_are_declared():
    detector = PatchCore(resize=96, crop=80, backbone="resnet18")
    model = afps(detector=detector, scorer=NearestNeighbour())
    assert model.input == InputSpec(96, 80)
    assert model.feature_requests == detector.feature_requests
    assert model.augmentation == "none"


def test_another_detector_can_stand_in():
    model = afps(detector=PatchCore(resize=64, crop=None, dimension=70), scorer=NearestNeighbour())
    model.fit(train(textures(8, 64, blob=True), classes=True), tools(None, 64))
    assert model.predict(batch_of(textures(2, 64)))[DefectLogits].values.shape == (2, 1)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("afps:detector=patchcore", "detector 'patchcore' does not emit PatchGaussian"),
        ("afps:scorer=nn", "detector 'padim' does not emit PatchBank"),
        ("afps:scorer=softmax", "detector 'padim' does not emit DefectLogits"),
        ("afps:detector=twostage-stage1:scorer=map", "'twostage-stage1' does not emit PatchEmb"),
        ("afps:detector=afps", "detector 'afps' does not emit PatchEmbeddings, PatchGaussian"),
    ],
)
def test_what_does_not_go_together_is_refused_when_planned(written, reason):
    catalogue = plugins.load(["afps", "patchcore", "twostage"])
    wanted = grammar.component(written)
    with pytest.raises(UserError, match=reason) as caught:
        parameters.build(catalogue, "model", parameters.resolve(catalogue, "model", wanted))
    assert "\n" not in str(caught.value)


def test_a_scorer_without_a_map_is_refused():
    made, _ = two_defects(4)
    model = afps(detector=Corner())
    model.scorer.score = lambda outputs: Scores(image=torch.zeros(4))
    with pytest.raises(UserError, match="scorer 'mahalanobis' gives no map"):
        model.fit(made, tools(None, 64))


@pytest.mark.parametrize("kept", [0, 1])
def test_both_normal_and_defective_images_are_needed(kept):
    made = train(textures(6, 64), classes=True)
    made._classes = dict.fromkeys(range(6), kept)
    with pytest.raises(UserError, match=f"{6 * (1 - kept)} normal and {6 * kept} defective"):
        afps().fit(made, tools(None, 64))


# ---------------------------------------------------------------- a run, recipes, reported numbers


def test_a_run_classifies_defects(tmp_path, capsys):
    model = "afps:detector=padim(dimensions=64,resize=64,crop=none):preset=smoke"
    given = ["run", "--plugins", "afps", "--protocol", "classification", "--datasets", "mini/metal"]
    assert cli.main([*given, "--models", model, "--out", str(tmp_path)]) == 0
    assert "accuracy" in capsys.readouterr().out


def test_recipes_are_valid_suites_and_have_reported_numbers():
    catalogue = plugins.load(["afps"])
    recipes = {recipe.name: recipe for recipe in adbench_recipes()}
    assert {row.recipe for row in adbench_reported() if row.recipe} == set(recipes)
    for recipe in recipes.values():
        checked = suite.validate({**recipe.suite, "plugins": ["afps"]}, recipe.name)
        assert checked.protocol == "classification"
        [[model]] = checked.models
        resolved = parameters.resolve(catalogue, "model", model)
        selection = "afps-random" if resolved.params["selection"] == "random" else "afps"
        assert f"{selection}-{resolved.params['patches']}" == recipe.name
        assert resolved.params["sd"] == 0.2
        assert resolved.params["detector"]["params"]["dimensions"] == 64


def test_reported_numbers():
    cells = {(r.method, r.metric): r.value for r in adbench_reported()}
    assert cells["AFPS, N = 100", "accuracy"] == cells["AFPS, sd = 0.20", "accuracy"] == 0.927
    assert cells["Random patches, N = 250", "macro_precision"] == 0.9285
    assert cells["AFPS, N = 10", "flops"] == 1.4e6
    assert len(cells) == 8 * 5 + 5
