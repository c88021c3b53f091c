from __future__ import annotations

import copy
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from skimage.metrics import structural_similarity
from skimage.segmentation import slic

from adbench_harness.errors import UserError
from adbench_harness.nn import stages as training
from adbench_harness.planning import parameters, plugins
from adbench_harness.planning.grammar import component
from adbench_harness.running.checkpoint import FileCheckpoint
from adbench_harness.running.learned import take
from adbench_harness.testing import fitting
from adbench_harness.types import AnomalyMap, Augmented, Batch
from adbench_twostage import (
    adbench_recipes,
    adbench_reported,
    augmenters,
    model,
    refinement,
)
from adbench_twostage.augmenters import Perlin, PerlinSuperpixel, Superpixel
from adbench_twostage.dtd import DescribableTextures
from adbench_twostage.model import PRESETS, Stage1, TwoStage
from adbench_twostage.network import Segmenter
from adbench_twostage.refinement import TEST, TRAIN, Outlined, kept, outlines, refined

SIDE = 32
PADDINGS = ("zeros", "replicate")
TINY = {**PRESETS["smoke"], "size": SIDE, "width": 2}


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def batch_of(images):
    return Batch(images, torch.arange(len(images)))


def tools(augmenter=None, seed=0, checkpoint=None):
    checkpoint = checkpoint or FileCheckpoint(None)
    return SimpleNamespace(
        device=torch.device("cpu"),
        generator=draws(seed),
        augmenter=augmenter,
        auxiliary=lambda _: fitting.train(fitting.textures(4, SIDE, seed=9)),
        progress=lambda *_: None,
        log=checkpoint.log,
        checkpoint=checkpoint,
    )


# ---------------------------------------------------------------- augmenters


def fitted(augmenter):
    return augmenter.fit(fitting.train(fitting.textures(4, SIDE)), tools())


@pytest.fixture
def flat_textures(monkeypatch):
    """Textures of one colour each, their place in the pool in 255ths, and no jitter."""
    monkeypatch.setattr(augmenters, "jitter", lambda images, _: images)

    def flatten(augmenter):
        pool = augmenter.textures.pixels
        pool.copy_(torch.arange(len(pool))[:, None, None, None].expand_as(pool))
        return augmenter

    return flatten


def test_perlin_shines_through_where_noise_is_above_a_drawn_threshold(flat_textures, monkeypatch):
    ramp = torch.linspace(-1, 1, SIDE).expand(400, SIDE, SIDE)
    monkeypatch.setattr(augmenters, "perlin_noise", lambda count, *_: ramp[:count])
    augmenter = flat_textures(fitted(Perlin(p_clean=0.0)))
    result = augmenter.augment(batch_of(torch.ones(400, 3, SIDE, SIDE)), draws())
    thresholds = 1 - result.masks[:, 0].float().mean(1) * 2
    assert thresholds.min() < 0.1
    assert thresholds.max() > 0.9
    assert thresholds.mean() == pytest.approx(0.5, abs=0.06)
    inside = result.images[:, 0, 0, -1]
    colours = augmenter.textures.pixels[:, 0, 0, 0].float().unique() / 255
    share = (1 - inside) / (1 - colours.mean())  # of the texture, on average
    assert share.mean() == pytest.approx(0.6, abs=0.06)
    assert (result.images[:, 0].amax((1, 2)) == 1).all()


def test_superpixels_are_opaque_and_at_most_a_tenth(flat_textures):
    augmenter = fitted(Superpixel(p_clean=0.0))
    labels, counts = augmenter.labels.clone(), augmenter.counts
    flat_textures(augmenter)
    result = augmenter.augment(batch_of(torch.full((64, 3, SIDE, SIDE), 2.0)), draws())
    assert (result.kind == result.masks.flatten(1).any(1).long()).all()
    assert result.masks.flatten(1).any(1).float().mean() > 0.9
    turned = set()
    for image, mask in zip(result.images, result.masks, strict=True):
        if not mask.any():
            continue
        place = int((image[0][mask][0] * 255).round())
        assert (image[0][mask] * 255).round().unique().tolist() == [place]
        own = {k: labels[place].rot90(k) for k in (0, -1, 2)}
        whole = [k for k, v in own.items() if is_union(mask, v)]
        assert whole, "no rotation of the texture's superpixels has the mask as a union"
        turned.add(whole[0])
        assert len(own[whole[0]][mask].unique()) <= int(0.1 * counts[place])
    assert turned == {0, -1, 2}


def is_union(mask, labels):
    inside = labels[mask].unique()
    return not torch.isin(labels[~mask], inside).any()


def test_drawn_with_replacement(flat_textures):
    """Of 200 superpixels, 20 draws hit 200 (1 - 0.995^20) = 19.1 different ones."""
    labels = torch.arange(200, dtype=torch.int16).expand(500, 10, 200)
    masks = augmenters._some_superpixels(labels, torch.full((500,), 200), draws())
    sizes = masks[:, 0].sum(1).float()
    assert sizes.max() == 20
    assert sizes.mean() == pytest.approx(200 * (1 - 0.995**20), abs=0.2)
    hits = masks[:, 0].float().mean(0)
    assert hits.min() > 0.05
    assert hits.max() < 0.15


@pytest.mark.parametrize("p_clean", [0.0, 0.5, 1.0])
def test_clean_images(p_clean):
    augmenter = fitted(Superpixel(p_clean=p_clean, source="self"))
    images = fitting.textures(200, SIDE)
    result = augmenter.augment(batch_of(images), draws())
    untouched = (result.images == images).flatten(1).all(1)
    assert torch.equal(result.kind == 0, untouched)
    assert untouched.float().mean() == pytest.approx(p_clean, abs=0.1)


def test_both_kinds_come_equally_often():
    augmenter = fitted(PerlinSuperpixel(p_clean=0.0))
    result = augmenter.augment(batch_of(fitting.textures(300, SIDE)), draws())
    alone = fitted(Perlin(p_clean=0.0)).augment(batch_of(fitting.textures(300, SIDE)), draws())
    drawn = alone.kind.float().mean()  # a threshold above the noise leaves a mask empty
    assert (result.kind == 1).float().mean() == pytest.approx(float(drawn) / 2, abs=0.1)
    assert (result.kind == 2).float().mean() == pytest.approx(0.5, abs=0.1)
    assert not result.masks[result.kind == 0].any()


def test_only_dtd_asks_for_data():
    assert Perlin(source="dtd").auxiliary == ("dtd",)
    assert Superpixel().auxiliary == Superpixel(source="self").auxiliary == ()
    assert len(fitted(Perlin(source="dtd")).textures) == 4


# ---------------------------------------------------------------- data set


@pytest.mark.parametrize("images", ["images", "dtd/images"])  # the archive has a folder dtd
def test_dtd_lists_images_of_every_texture(tmp_path, images):
    for name in ("woven/a.jpg", "woven/b.jpg", "banded/c.jpg"):
        (tmp_path / images / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / images / name).touch()
    dataset = DescribableTextures()
    assert dataset.categories(tmp_path) == ["banded", "woven"]
    samples = dataset.samples(tmp_path, "woven", 0)
    assert [sample.image.name for sample in samples] == ["a.jpg", "b.jpg"]
    assert {(sample.split, sample.label) for sample in samples} == {("train", None)}


def test_dtd_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="images/<texture>"):
        DescribableTextures().categories(tmp_path)


# ---------------------------------------------------------------- network


def test_parameters_of_the_papers_network():
    """23.9 million in its table; recounted from the authors' code."""
    catalogue = plugins.load(["twostage"])
    recipe = next(r for r in adbench_recipes() if r.name == "twostage")
    (written,) = recipe.suite["models"]
    choice = parameters.resolve(catalogue, "model", component(written))
    built = parameters.build(catalogue, "model", choice)
    stages = [Segmenter(built.width, draws()) for _ in built.losses]
    counts = [sum(p.numel() for p in stage.parameters()) for stage in stages]
    assert counts == [11_959_681, 11_959_681]
    assert sum(counts) == 23_919_362


def test_weights_come_from_the_generator():
    first, again, other = (Segmenter(16, draws(seed)) for seed in (0, 0, 1))
    assert all(map(torch.equal, first.parameters(), again.parameters()))
    weights = [layer.weight for layer in first.layers if isinstance(layer, torch.nn.Conv2d)]
    assert not torch.equal(weights[0], other.layers[0].weight)
    pooled = torch.cat([weight.detach().flatten() for weight in weights])
    assert abs(float(pooled.mean())) < 1e-3
    assert float(pooled.std()) == pytest.approx(0.02, rel=0.02)
    scales = torch.cat(
        [m.weight.detach() for m in first.layers if isinstance(m, torch.nn.BatchNorm2d)]
    )
    assert float(scales.mean()) == pytest.approx(1, abs=0.01)
    assert float(scales.std()) == pytest.approx(0.02, rel=0.2)


def test_maps_are_raw_and_of_the_images_size():
    network = Segmenter(2, draws())
    with torch.no_grad():
        network.layers[-1].bias.fill_(-3.0)
        assert network(torch.rand(2, 3, 16, 24)).shape == (2, 16, 24)
        assert network(torch.rand(2, 3, 16, 24)).mean() < -2


# ---------------------------------------------------------------- refinement


def reference_kept(maps, rarity, grey):
    """In NumPy and OpenCV, one image."""
    values = np.minimum(255 * np.abs(maps), 255).astype(np.uint8)
    counts = np.bincount(values.ravel(), minlength=256)
    values[counts[values] > rarity * counts.max()] = 0
    return cv2.medianBlur(values, 3) > grey


def test_half_precision_is_for_the_training_only():
    images = torch.rand(2, 3, SIDE, SIDE, generator=draws())
    single, half = (Segmenter(4, draws(), half=half) for half in (False, True))
    made, other = single(images), half(images)
    assert other.dtype == torch.float32
    assert not torch.equal(made, other)
    assert (other - made).detach().abs().mean() < 0.1 * made.detach().std()
    other.square().mean().backward()
    assert {p.grad.dtype for p in half.parameters()} == {torch.float32}
    half.load_state_dict(single.state_dict())
    torch.testing.assert_close(half.eval()(images), single.eval()(images), rtol=0, atol=0)


def test_a_training_in_half_precision_learns_as_well():
    train = fitting.train(fitting.textures(8, SIDE, seed=1))
    ends = {}
    for precision in ("float32", "bfloat16"):
        checkpoint = FileCheckpoint(None)
        used = tools(Perlin().fit(train, tools()), checkpoint=checkpoint)
        settings = {**TINY, "steps": 40, "batch": 4, "learning_rate": 0.01}
        Stage1(**settings, precision=precision).fit(train, used)
        losses = [float(value) for value in checkpoint.curves["loss 1"]]
        assert np.mean(losses[-5:]) < np.mean(losses[:5])
        ends[precision] = np.mean(losses[-5:])
    assert ends["bfloat16"] == pytest.approx(ends["float32"], rel=0.1)
    assert ends["bfloat16"] != ends["float32"]


@pytest.mark.parametrize("thresholds", [TRAIN, TEST])
def test_kept_pixels_equal_a_reference(thresholds):
    maps = torch.randn(6, 24, 31, generator=draws()) * torch.logspace(-2, 0.5, 6)[:, None, None]
    maps[:, 10:] *= 0.01
    found = kept(maps, thresholds)
    expected = [reference_kept(m, thresholds.rarity, thresholds.grey) for m in maps.numpy()]
    np.testing.assert_array_equal(found, expected)
    assert 0 < found.sum() < found.numel()


def test_the_commonest_grey_value_is_background_in_the_test_alone():
    maps = torch.full((1, 20, 20), 0.5)
    maps[0, 5:10, 5:10] = 0.8
    assert kept(maps, TRAIN).all()
    found = kept(maps, TEST)[0]
    assert found[6:9, 6:9].all()
    assert not found[:4].any()
    assert not found[11:].any()


def test_a_speck_is_no_find():
    maps = torch.zeros(1, 20, 20)
    maps[0, 7, 7] = 1
    assert not kept(maps, TRAIN).any()
    maps[0, 6:9, 6:9] = 1
    assert kept(maps, TRAIN).any()


def test_superpixels_that_a_find_touches_stay_and_all_else_is_black():
    """SLIC is run here on the image as it is; pixels in any other order would give other pieces."""
    photograph = skimage.data.astronaut()[::8, ::8]
    image = torch.from_numpy(photograph.copy()).permute(2, 0, 1).float() / 255
    maps = torch.zeros(2, 64, 64)
    maps[0, 10:14, 40:50] = 0.9
    maps[1, 30:50, 5:9] = 0.6
    images = torch.stack([image, image])
    result = refined(images, outlines(images), maps, TEST)
    labels = slic(photograph, n_segments=250, compactness=8, sigma=1)
    for found, one in zip(result, maps.numpy(), strict=True):
        stay = np.isin(labels, labels[reference_kept(one, 0.95, 30)])
        assert 0 < stay.sum() < stay.size / 4
        assert stay.sum() > (one > 0).sum()
        assert torch.equal(found, image * torch.from_numpy(stay))


def test_nothing_found_leaves_nothing():
    images = torch.ones(1, 3, 32, 32)
    assert not refined(images, outlines(images), torch.zeros(1, 32, 32), TEST).any()


# ---------------------------------------------------------------- models


class Squares:
    """Whitens a square of every image, at a place that ``generator`` draws."""

    kinds = ("square",)

    def __init__(self, fails_at=None):
        self.calls, self.fails_at = 0, fails_at

    def augment(self, batch, generator):
        self.calls += 1
        if self.calls == self.fails_at:
            raise KeyboardInterrupt
        masks = torch.zeros(len(batch), SIDE, SIDE, dtype=torch.bool)
        for mask in masks:
            y, x = torch.randint(4, SIDE - 12, (2,), generator=generator)
            mask[y : y + 8, x : x + 8] = True
        return Augmented(
            torch.where(masks[:, None], 1.0, batch.images), masks, torch.ones(len(batch))
        )


def trained(cls, params=None, seed=0, checkpoint=None, augmenter=None):
    built = cls(**TINY | (params or {}))
    images = fitting.train(fitting.textures(7, SIDE))
    return built.fit(images, tools(augmenter or Squares(), seed, checkpoint))


def weights(built):
    return list(built.stages.state_dict().values())


@pytest.fixture(scope="module")
def learned():
    checkpoint = FileCheckpoint(None)
    params = {"width": 8, "steps": 60, "learning_rate": 3e-3, "batch": 4}
    return trained(TwoStage, params, checkpoint=checkpoint), checkpoint.curves


def test_both_stages_learn(learned):
    built, curves = learned
    # A square of 8 x 8 in each image.
    assert curves["anomalous pixels"] == pytest.approx([64 / SIDE**2] * 60)
    assert curves["anomalous pixels, deviation"] == pytest.approx([0.0] * 60)
    assert len(curves) == 4
    for curve in (curves["loss 1"], curves["loss 2"]):
        assert len(curve) == 60
        assert np.mean(curve[-5:]) < 0.4 * np.mean(curve[:5])
    found = Squares().augment(batch_of(fitting.textures(6, SIDE, seed=3)), draws(5))
    with torch.no_grad():
        outputs = built.predict(batch_of(found.images))
    assert outputs.input_size == (SIDE, SIDE)
    for level in outputs[AnomalyMap].levels:
        assert level.values[found.masks].mean() > level.values[~found.masks].mean() + 0.3


def test_stages_see_bgr_and_the_second_only_what_the_first_chose(learned, monkeypatch):
    built, _ = learned
    seen = []
    hooks = [
        stage.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        for stage in built.stages
    ]
    chosen = torch.zeros(2, 3, SIDE, SIDE)
    chosen[:, 0] = 0.25
    monkeypatch.setattr(model, "refined", lambda *_: chosen)
    images = fitting.textures(2, SIDE) * torch.tensor([0.2, 0.5, 1.0])[:, None, None]
    with torch.no_grad():
        built.predict(batch_of(images))
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(torch.cat(seen[:2]), images[:, [2, 1, 0]])
    torch.testing.assert_close(seen[2], chosen[:, [2, 1, 0]])


@pytest.mark.parametrize(("loss", "with_ssim"), [("both", True), ("mse", False)])
def test_losses_are_the_papers(learned, monkeypatch, loss, with_ssim):
    built = trained(TwoStage, {"stage2_loss": loss, "steps": 1})
    found = Outlined.of(Squares().augment(batch_of(fitting.textures(3, SIDE)), draws()))
    seen = []
    monkeypatch.setattr(model, "refined", lambda *args: seen.append(args[3]) or found.images)
    for stage, both, value in zip(
        built.stages, (True, with_ssim), [f(found.images, found) for f in built.losses], strict=True
    ):
        with torch.no_grad():
            maps = stage(found.images.flip(1)).numpy()
        truth = found.masks.numpy().astype(np.float32)
        expected = np.square(maps - truth).mean()
        if both:
            similarities = [
                structural_similarity(
                    a.astype(float),
                    b.astype(float),
                    data_range=1,
                    gaussian_weights=True,
                    use_sample_covariance=False,
                )
                for a, b in zip(maps, truth, strict=True)
            ]
            expected += 1 - np.mean(similarities)
        assert value.item() == pytest.approx(expected, rel=1e-3)
    assert seen == [TRAIN]


def test_the_second_stage_does_not_move_the_first(monkeypatch):
    saved = []
    checkpoint = FileCheckpoint(None)
    monkeypatch.setattr(checkpoint, "save", lambda state: saved.append(copy.deepcopy(state)))
    built = trained(TwoStage, checkpoint=checkpoint)
    assert [(state["stage"], state["step"]) for state in saved] == [
        (stage, step) for stage in (0, 1) for step in range(1, 7)
    ]
    before, last = saved[5]["stages"], saved[11]["stages"]
    moved = {name[0] for name, value in before.items() if not torch.equal(value, last[name])}
    assert moved == {"1"}
    assert not any(stage.training for stage in built.stages)


def test_learning_rate_falls_to_a_fifth_twice(monkeypatch):
    rates = []
    step = torch.optim.Adam.step

    def watched(self, *args):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    trained(TwoStage, {"steps": 10, "learning_rate": 0.5})
    one = [0.5] * 8 + [0.1, 0.02]
    assert rates == pytest.approx([*one, *one])


def test_paper_passes_over_the_training_images(monkeypatch):
    monkeypatch.setattr(model, "EPOCHS", 2)
    augmenter = Squares()
    built = Stage1(width=2, size=SIDE)
    built.fit(fitting.train(fitting.textures(7, SIDE)), tools(augmenter))
    assert augmenter.calls == 14
    assert (built.batch, built.learning_rate) == (1, 1e-4)


@pytest.mark.parametrize("points", [100, 2])
@pytest.mark.parametrize("fails_at", [2, 5, 7, 11])
def test_interrupted_training_ends_the_same(tmp_path, monkeypatch, fails_at, points):
    """Seven images in batches of two: interruptions fall within and between epochs and stages.

    With two points a stage, they fall between the points of a curve too.
    """
    monkeypatch.setattr(training, "SAVES", points)
    monkeypatch.setattr(training, "SECONDS", -1.0)
    whole = FileCheckpoint(None)
    expected = trained(TwoStage, checkpoint=whole)
    cut = FileCheckpoint(tmp_path / "state.pt")
    with pytest.raises(KeyboardInterrupt):
        trained(TwoStage, checkpoint=cut, augmenter=Squares(fails_at))
    resumed = FileCheckpoint(tmp_path / "state.pt")
    rest = Squares()
    found = trained(TwoStage, checkpoint=resumed, augmenter=rest)
    assert rest.calls == 12 - (fails_at - 1)
    assert all(map(torch.equal, weights(found), weights(expected)))
    assert resumed.curves == whole.curves


def test_fit_depends_on_its_seed_alone():
    torch.manual_seed(1)
    first = trained(TwoStage)
    torch.manual_seed(2)
    again, other = trained(TwoStage), trained(TwoStage, seed=1)
    assert all(map(torch.equal, weights(first), weights(again)))
    assert not torch.equal(weights(first)[0], weights(other)[0])


def test_predictions_do_not_depend_on_the_batch(learned):
    built, _ = learned
    images = Squares().augment(batch_of(fitting.textures(9, SIDE, seed=8)), draws()).images
    with torch.no_grad():
        together = built.predict(batch_of(images))[AnomalyMap].levels
        for i in range(9):
            alone = built.predict(batch_of(images[i : i + 1]))[AnomalyMap].levels
            for a, b in zip(alone, together, strict=True):
                torch.testing.assert_close(a.values[0], b.values[i], atol=1e-5, rtol=1e-5)


def test_learned_are_all_weights():
    for cls, stages in ((Stage1, 1), (TwoStage, 2)):
        built = trained(cls)
        one = sum(p.numel() for p in Segmenter(2, draws()).parameters())
        assert take(built, cls(**TINY)).numbers == stages * one


# ---------------------------------------------------------------- presets and recipes


@pytest.mark.parametrize("name", ["twostage", "twostage-stage1"])
def test_fast_is_the_default_and_says_so_in_the_row(name):
    catalogue = plugins.load(["twostage"])
    label = parameters.resolve(catalogue, "model", component(name)).label
    changed = "size=128,width=16,batch=4,steps=300,statistics=normal,padding=replicate"
    assert label == f"{name}({changed})"
    paper = parameters.resolve(catalogue, "model", component(f"{name}:preset=paper:steps=9"))
    assert paper.label == f"{name}(steps=9)"
    assert (paper.params["size"], paper.params["width"], paper.params["batch"]) == (256, 128, 1)


def test_padding_is_every_layers():
    image = fitting.textures(1, 64)
    zeros, replicate = (Segmenter(4, draws(1), padding).eval() for padding in PADDINGS)
    for first, second in zip(zeros.layers, replicate.layers, strict=True):
        if isinstance(first, torch.nn.Conv2d):
            assert torch.equal(first.weight, second.weight)
            assert (first.padding_mode, second.padding_mode) == PADDINGS
    inside = (..., slice(1, -1), slice(1, -1))
    first, second = zeros.layers[0](image), replicate.layers[0](image)
    assert torch.equal(first[inside], second[inside])
    assert not torch.equal(first, second)


def test_an_unknown_preset_is_refused():
    catalogue = plugins.load(["twostage"])
    with pytest.raises(UserError, match=r"no preset 'papr'.*'paper'.*fast, paper, smoke"):
        parameters.resolve(catalogue, "model", component("twostage:preset=papr"))


def test_statistics_are_those_of_the_normal_images():
    """Of one layer, the mean and the variance of what it gives on the training images."""
    train = fitting.train(fitting.textures(4, SIDE))
    built = Stage1(**{**TINY, "statistics": "normal"}).fit(train, tools(Squares()))
    convolution, norm = built.stages[0].layers[:2]
    images = torch.cat([batch.images for batch in train.batches()])
    values = convolution(images.flip(1)).detach()
    assert torch.allclose(norm.running_mean, values.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(norm.running_var, values.var((0, 2, 3)), rtol=1e-3)
    assert norm.momentum == 0.1
    running = Stage1(**TINY).fit(train, tools(Squares()))
    assert not torch.allclose(running.stages[0].layers[1].running_mean, norm.running_mean)


@pytest.mark.parametrize("size", [10, 30])
def test_sizes_that_do_not_halve_twice_are_refused(size):
    catalogue = plugins.load(["twostage"])
    wanted = component(f"twostage:size={size}")
    with pytest.raises(UserError, match="size"):
        parameters.build(catalogue, "model", parameters.resolve(catalogue, "model", wanted))


def test_recipes_name_components_that_exist():
    catalogue = plugins.load(["twostage"])
    for recipe in adbench_recipes():
        for kind in ("augmenter", "model", "scorer"):
            for written in recipe.suite[f"{kind}s"]:
                choice = parameters.resolve(catalogue, kind, component(written))
                parameters.build(catalogue, kind, choice)
        assert recipe.suite["scorers"] == ["map:pool=mean-pooled-max"]


def test_reported():
    rows = list(adbench_reported())
    own = next(row for row in rows if row.recipe == "twostage")
    assert (own.metric, own.category, own.value) == ("pixel_auroc", "mean", 0.961)
    assert refinement.SEGMENTS == 250
