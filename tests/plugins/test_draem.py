from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np
import pytest
import torch
from skimage import exposure
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional

from adbench_draem import adbench_recipes, adbench_reported, operations
from adbench_draem import augmenter as augmenters
from adbench_draem.augmenter import PerlinDRAEM
from adbench_draem.model import DRAEM, EPOCHS, focal_loss
from adbench_draem.network import ReconstructAndSegment
from adbench_harness.errors import UserError
from adbench_harness.nn import stages
from adbench_harness.nn.ssim import ssim
from adbench_harness.nn.sspcab import SSPCAB
from adbench_harness.planning import grammar, parameters, plugins, suite
from adbench_harness.running.checkpoint import FileCheckpoint
from adbench_harness.testing import fitting
from adbench_harness.types import AnomalyMap, Batch

SIDE = 64
TINY = {**DRAEM.presets["smoke"], "size": SIDE, "width": 2}


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def batch_of(images):
    return Batch(images, torch.arange(len(images)))


# ---------------------------------------------------------------- augmenter


def prepared(side=SIDE, **params):
    images = fitting.train(fitting.textures(4, side))
    return PerlinDRAEM(**params).fit(images, fitting.tools(None, side))


def test_masks_are_where_rotated_noise_exceeds_the_threshold(monkeypatch):
    noise = torch.linspace(-1, 1, SIDE).expand(40, SIDE, SIDE)
    angles = []
    monkeypatch.setattr(augmenters, "perlin_noise", lambda count, *_: noise[:count])
    monkeypatch.setattr(augmenters, "rotated", lambda maps, degrees: angles.append(degrees) or maps)
    result = prepared(p_clean=0.0).augment(batch_of(torch.rand(40, 3, SIDE, SIDE)), draws())
    assert torch.equal(result.masks, noise > 0.5)
    assert angles[0].min() < -60
    assert angles[0].max() > 60
    assert angles[0].abs().max() <= 90


def test_the_image_shines_through_by_up_to_four_fifths(monkeypatch):
    monkeypatch.setattr(augmenters, "jitter", lambda images, *_: torch.zeros_like(images))
    result = prepared(p_clean=0.0).augment(batch_of(torch.ones(200, 3, SIDE, SIDE)), draws())
    found = [i[0][m].mean() for i, m in zip(result.images, result.masks, strict=True) if m.any()]
    shares = torch.stack(found)
    assert shares.min() < 0.05
    assert 0.7 < shares.max() <= 0.8
    assert shares.mean().item() == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize("p_clean", [0.0, 0.5, 1.0])
def test_clean_images(p_clean):
    images = fitting.textures(200, SIDE)
    result = prepared(p_clean=p_clean).augment(batch_of(images), draws())
    untouched = (result.images == images).flatten(1).all(1)
    assert torch.equal(result.kind == 0, ~result.masks.flatten(1).any(1))
    assert (untouched == (result.kind == 0)).float().mean() > 0.95  # a texture may be as it was
    assert (result.kind > 0).float().mean() < 1 - p_clean + 0.1


def test_only_dtd_asks_for_data():
    assert PerlinDRAEM(source="dtd").auxiliary == ("dtd",)
    assert PerlinDRAEM().auxiliary == ()


# ---------------------------------------------------------------- operations


@pytest.fixture(scope="module")
def images():
    return torch.randint(256, (6, 3, 16, 20), generator=draws()).float() / 255


@pytest.fixture(scope="module")
def numbers():
    return torch.rand(6, 3, generator=draws(1))


def test_ten_operations_keep_images_images(images, numbers):
    assert len(operations.OPERATIONS) == 10
    for operation in operations.OPERATIONS:
        made = operation(images, numbers)
        assert made.shape == images.shape
        assert 0 <= made.min() <= made.max() <= 1
        assert not torch.equal(made, images)


def test_solarise_inverts_above_the_threshold_in_half_of_the_images(images):
    drawn = torch.tensor([[0.0, 0.4, 0.0], [1.0, 0.4, 0.0], [0.0, 0.6, 0.0]])
    made = operations.solarise(images[:3], drawn)
    for image, found, threshold in zip(images, made, (32, 128, 256), strict=False):
        expected = torch.where(image >= threshold / 255, 1 - image, image)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("bits", range(1, 9))
def test_posterise_keeps_bits(images, bits):
    drawn = torch.full((6, 3), (bits - 0.5) / 8)
    made = (255 * operations.posterise(images, drawn)).round().int()
    expected = (255 * images).round().int() >> (8 - bits) << (8 - bits)
    assert torch.equal(made, expected)


def test_equalise_makes_grey_values_equally_frequent(images, numbers):
    dark = images**3
    made = operations.equalise(dark, numbers)
    for image, found in zip(dark, made, strict=True):
        for channel, one in zip(image.numpy(), found.numpy(), strict=True):
            grey = (255 * channel).round().astype(np.uint8)
            whole = exposure.equalize_hist(grey, nbins=256)
            lowest = whole.min()
            np.testing.assert_allclose(one, (whole - lowest) / (1 - lowest), atol=5e-3)
    flat = torch.full((1, 3, 4, 4), 0.3)
    assert torch.equal(operations.equalise(flat, numbers[:1]), flat)


def test_hue_and_saturation_leave_grey_and_brightness(images, numbers):
    made = operations.hue_and_saturation(0.25 + images / 2, numbers)
    torch.testing.assert_close(made.mean(1), 0.25 + images.mean(1) / 2, atol=0.03, rtol=0)
    grey = torch.rand(6, 1, 4, 4).expand(-1, 3, -1, -1)
    torch.testing.assert_close(operations.hue_and_saturation(grey, numbers), grey)


# ---------------------------------------------------------------- networks


def test_parameters_of_the_papers_networks():
    """97.4 million in Shah and Kim's table; 69.05 and 28.37 recounted from the authors' code."""
    with torch.device("meta"):
        network = ReconstructAndSegment(DRAEM().width)
    counts = [sum(p.numel() for p in part.parameters()) for part in network.children()]
    assert counts == [69_048_579, 28_374_146]
    assert sum(counts) == 97_422_725


def test_the_second_network_sees_the_reconstruction_and_the_image():
    network = ReconstructAndSegment(2).eval()
    seen = []
    network.segment.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    images = fitting.textures(2, SIDE)
    rebuilt, logits = network(images)
    assert torch.equal(seen[0], torch.cat([rebuilt, images], 1))
    assert logits.shape == (2, 2, SIDE, SIDE)


def test_sspcab_replaces_the_reconstructions_last_convolution_but_one():
    network = ReconstructAndSegment(4, sspcab=True)
    plain = ReconstructAndSegment(4)
    [(name, block)] = [(n, m) for n, m in network.named_modules() if isinstance(m, SSPCAB)]
    convolutions = [n for n, m in plain.reconstruct.named_modules() if isinstance(m, nn.Conv2d)]
    assert name == f"reconstruct.{convolutions[-2]}"
    assert block.corners[0].in_channels == 4


# ---------------------------------------------------------------- model


class Squares(fitting.Blobs):
    """Bright squares; the training is interrupted at a call."""

    def __init__(self, fails_at=None):
        self.calls, self.fails_at = 0, fails_at

    def augment(self, batch, generator):
        self.calls += 1
        if self.calls == self.fails_at:
            raise KeyboardInterrupt
        return super().augment(batch, generator)


def fitted(checkpoint=None, seed=0, augmenter=None, **params):
    checkpoint = checkpoint or FileCheckpoint(None)
    tools = dataclasses.replace(
        fitting.tools(augmenter or Squares(), SIDE, seed),
        checkpoint=checkpoint,
        log=checkpoint.log,
    )
    return DRAEM(**TINY | params).fit(fitting.train(fitting.textures(7, SIDE)), tools)


def mapped(model, images):
    with torch.no_grad():
        return model.predict(fitting.batch(images))[AnomalyMap].levels[0].values


@pytest.fixture(scope="module", params=[False, True])
def learned(request):
    checkpoint = FileCheckpoint(None)
    params = {"width": 8, "steps": 50, "learning_rate": 1e-2, "batch": 4, "rotation": 0}
    model = fitted(checkpoint, sspcab=request.param, statistics="augmented", **params)
    return model, checkpoint.curves["loss 1"]


def test_training_lowers_the_loss_and_finds_squares(learned):
    model, losses = learned
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    images = fitting.textures(4, SIDE, 3)
    made = Squares().augment(batch_of(images), draws(5))
    found = mapped(model, made.images)
    assert roc_auc_score(made.masks.flatten(), found.flatten()) > 0.9
    assert 0 <= found.min() <= found.max() <= 1


def test_an_image_scores_alone_as_in_a_batch(learned):
    model, _ = learned
    images = Squares().augment(batch_of(fitting.textures(5, SIDE, 8)), draws()).images
    alone = torch.cat([mapped(model, image[None]) for image in images])
    torch.testing.assert_close(alone, mapped(model, images), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("sspcab", [False, True])
def test_the_loss_is_the_papers(sspcab):
    model = fitted(sspcab=sspcab, steps=1)
    clean = fitting.textures(3, SIDE)
    made = Squares().augment(batch_of(clean), draws())
    rebuilt, logits = model.network(made.images)
    expected = (rebuilt - clean).square().mean() + 1 - ssim(rebuilt, clean).mean()
    right = logits.softmax(1).gather(1, made.masks.long()[:, None])
    expected = expected - ((1 - right) ** 2 * right.log()).mean()
    if sspcab:
        errors = []
        block = next(m for m in model.network.modules() if isinstance(m, SSPCAB))
        block.register_forward_hook(
            lambda _, given, out: errors.append(functional.mse_loss(out, given[0]))
        )
        model.network(made.images)
        expected = expected + 0.1 * errors[0]
    assert model._loss(clean, made).item() == pytest.approx(expected.item(), rel=1e-4)


def test_focal_loss_of_certain_and_of_even_predictions():
    masks = torch.tensor([[[True, False]]])
    even = torch.zeros(1, 2, 1, 2)
    assert focal_loss(even, masks).item() == pytest.approx(0.25 * np.log(2))
    certain = torch.tensor([[[[-50.0, 50.0]], [[50.0, -50.0]]]])
    assert focal_loss(certain, masks).item() == 0


def test_a_third_of_the_normal_images_is_rotated():
    model = DRAEM(**TINY)
    images = fitting.textures(300, SIDE)
    turned = model._turned(images, draws())
    same = (turned == images).flatten(1).all(1)
    assert same.float().mean() == pytest.approx(0.7, abs=0.06)
    upright = DRAEM(**TINY | {"rotation": 0})._turned(images, draws())
    torch.testing.assert_close(upright, images, atol=1e-4, rtol=0)


def test_paper_passes_over_the_training_images():
    model = DRAEM()
    assert (model.batch, model.learning_rate, model.width, model.rotation) == (8, 1e-4, 128, 90)
    assert model.steps is None
    assert EPOCHS == 700


def test_fit_depends_on_its_seed_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = fitted(sspcab=True)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again, other = fitted(sspcab=True), fitted(sspcab=True, seed=1)
    images = fitting.textures(2, SIDE, 4)
    assert torch.equal(mapped(first, images), mapped(again, images))
    assert not torch.equal(mapped(first, images), mapped(other, images))


@pytest.mark.parametrize("fails_at", [2, 5, 6])
def test_interrupted_training_ends_the_same(tmp_path, monkeypatch, fails_at):
    """Seven images in batches of two: interruptions fall within and between passes."""
    monkeypatch.setattr(stages, "SECONDS", -1.0)
    params = {"sspcab": True, "statistics": "augmented"}
    whole, path = FileCheckpoint(None), tmp_path / "state.pt"
    expected = fitted(whole, **params)
    with pytest.raises(KeyboardInterrupt):
        fitted(FileCheckpoint(path), augmenter=Squares(fails_at), **params)
    resumed, rest = FileCheckpoint(path), Squares()
    found = fitted(resumed, augmenter=rest, **params)
    assert rest.calls == 6 - (fails_at - 1) + 1  # for the statistics
    for ours, theirs in zip(
        found.network.state_dict().values(), expected.network.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)
    assert resumed.curves == whole.curves


@pytest.mark.parametrize("written", ["draem:size=100", "draem:size=32", "draem:width=3"])
def test_sizes_and_widths_that_do_not_halve_are_refused(written):
    catalogue = plugins.load(["draem"])
    with pytest.raises(UserError, match="multiple of"):
        parameters.build(
            catalogue,
            "model",
            parameters.resolve(catalogue, "model", grammar.component(written)),
        )


# ---------------------------------------------------------------- presets, recipes, reported


def test_presets():
    catalogue = plugins.load(["draem"])
    written = grammar.component("draem:preset=paper")
    assert parameters.resolve(catalogue, "model", written).label == "draem"


def test_recipes_are_valid_suites():
    catalogue = plugins.load(["draem"])
    recipes = list(adbench_recipes())
    for recipe in recipes:
        checked = suite.validate({**recipe.suite, "plugins": ["draem"]}, recipe.name)
        for kind, axis in (
            ("model", checked.models),
            ("scorer", checked.scorers),
            ("augmenter", checked.augmenters),
        ):
            [[wanted]] = axis
            parameters.build(catalogue, kind, parameters.resolve(catalogue, kind, wanted))
    assert {row.recipe for row in adbench_reported()} - {None} == {r.name for r in recipes}


def test_reported_means_are_those_of_the_categories():
    columns = defaultdict(dict)
    for row in adbench_reported():
        columns[row.method, row.metric][row.category] = row.value
    assert columns["DRAEM", "pixel_auroc"]["bottle"] == 0.991
    whole = [column for column in columns.values() if len(column) > 1]
    assert len(whole) == 3
    for column in whole:
        mean = column.pop("mean")
        assert len(column) == 15
        assert np.mean(list(column.values())) == pytest.approx(mean, abs=1e-3)
