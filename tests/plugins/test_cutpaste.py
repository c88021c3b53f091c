from __future__ import annotations

import dataclasses
from collections import defaultdict

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import resnet18

from adbench_cutpaste import adbench_recipes, adbench_reported
from adbench_cutpaste.augmenter import CutPaste, CutPasteScar
from adbench_cutpaste.model import CutPasteClassifier
from adbench_cutpaste.network import ResNet18, head
from adbench_cutpaste.scorers import ImageMahalanobis
from adbench_harness.nn import stages
from adbench_harness.nn.sspcab import SSPCAB
from adbench_harness.planning import grammar, parameters, plugins, suite
from adbench_harness.running.checkpoint import FileCheckpoint
from adbench_harness.testing import fitting
from adbench_harness.types import Augmented, Batch, ImageEmbeddings, Outputs

HEIGHT, WIDTH = 96, 160
SIDE = 32
TINY = {**CutPasteClassifier.presets["smoke"], "size": SIDE, "width": 2}


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------- augmenters


def batch_of(images):
    return Batch(images, torch.arange(len(images)))


def ramps(count):
    """Images whose red is a pixel's x and whose green is its y, in units of 2 * WIDTH px."""
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    return torch.stack([x, y, torch.zeros_like(x)]).div(2 * WIDTH).expand(count, -1, -1, -1)


@pytest.fixture(scope="module")
def pasted():
    return CutPaste(probability=1, jitter=0).augment(batch_of(ramps(64)), draws())


def test_pieces_are_turned_rectangles_of_the_stated_sizes(pasted):
    assert set(pasted.kind.tolist()) == {1, 2}
    for mask, kind in zip(pasted.masks.numpy().astype(np.uint8), pasted.kind, strict=True):
        points = cv2.findNonZero(mask)
        _, sides, _ = cv2.minAreaRect(points)
        short, long = sorted(side + 1 for side in sides)  # from pixel centres to their borders
        assert mask.sum() == pytest.approx(short * long, abs=2 * (short + long))
        if kind == 1:
            share = mask.sum() / mask.size
            assert 0.019 < share < 0.151
            assert long / short < 3.5 * WIDTH / HEIGHT
        else:
            assert short <= 16 / 256 * WIDTH + 2
            assert 10 / 256 * HEIGHT - 2 <= long <= 25 / 256 * WIDTH + 2


def test_patches_differ_in_place_angle_shape_and_size(pasted):
    found = []
    for mask in pasted.masks[pasted.kind == 1].numpy().astype(np.uint8):
        (x, y), (width, height), angle = cv2.minAreaRect(cv2.findNonZero(mask))
        found.append([x, y, width / height, width * height, angle])
    assert (np.std(found, 0) > [20, 10, 0.2, 200, 10]).all()


def test_content_is_moved_and_turned_but_not_scaled(pasted):
    angles = []
    for image, mask in zip(pasted.images.numpy(), pasted.masks.numpy(), strict=True):
        rows, columns = mask.nonzero()
        here = np.stack([columns, rows, np.ones_like(rows)], 1)
        came_from = 2 * WIDTH * image[:2, rows, columns].T
        matrix, *_ = np.linalg.lstsq(here, came_from, rcond=None)
        np.testing.assert_allclose(here @ matrix, came_from, atol=0.51)  # half a px at a border
        if len(rows) < 300:
            continue
        turn = matrix[:2]
        np.testing.assert_allclose(turn @ turn.T, np.eye(2), atol=0.01)
        assert np.linalg.det(turn) > 0
        angles.append(np.degrees(np.arctan2(turn[0, 1], turn[0, 0])))
        assert came_from.min() >= 0
        assert (came_from <= [WIDTH, HEIGHT]).all()
    assert max(np.abs(angles)) <= 45.5
    assert min(angles) < -20
    assert max(angles) > 20


def test_without_rotation_pieces_are_upright():
    result = CutPaste(probability=1, rotation=0).augment(batch_of(ramps(32)), draws())
    for mask in result.masks:
        rows, columns = mask.nonzero().T
        assert mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()


def test_small_images_get_pieces_too():
    result = CutPaste(probability=1).augment(batch_of(torch.rand(200, 3, 16, 16)), draws())
    assert result.masks.flatten(1).any(1).all()


@pytest.mark.parametrize(
    ("probability", "low", "high"), [(0, 0, 0), (0.5, 170, 230), (1, 400, 400)]
)
def test_probability(probability, low, high):
    images = torch.rand(400, 3, 16, 16, generator=draws())
    result = CutPaste(probability=probability).augment(batch_of(images), draws())
    chosen = result.kind > 0
    assert low <= chosen.sum() <= high
    assert torch.equal(chosen, result.masks.flatten(1).any(1))
    assert torch.equal(result.images[~chosen], images[~chosen])


@pytest.mark.parametrize(
    ("source", "count"), [("same", 9), ("other", 9), ("other", 2), ("other", 1)]
)
def test_source(source, count):
    """Where each image has a colour of its own, a piece's colour says where it was cut."""
    colours = torch.arange(1, count + 1) / 10
    images = colours[:, None, None, None].expand(-1, 3, 32, 32)
    augmenter = CutPaste(probability=1, jitter=0, source=source)
    result = augmenter.augment(batch_of(images), draws())
    found = torch.stack([i[:, m].mean() for i, m in zip(result.images, result.masks, strict=True)])
    own = (found - colours).abs() < 1e-6
    assert own.all() if source == "same" or count == 1 else not own.any()
    assert ((found[:, None] - colours).abs().amin(1) < 1e-6).all()


@pytest.mark.gpu
@pytest.mark.parametrize("source", ["same", "other"])
def test_a_gpu_pastes_the_same(source):
    images = torch.rand(8, 3, 64, 64, generator=draws())
    augmenter = CutPaste(source=source)
    there, here = (augmenter.augment(batch_of(i), draws()) for i in (images.cuda(), images))
    assert torch.equal(there.masks.cpu(), here.masks)
    assert torch.equal(there.kind.cpu(), here.kind)
    torch.testing.assert_close(there.images.cpu(), here.images, atol=1e-2, rtol=0)


def test_the_label_says_which_pixels_were_pasted():
    """An image of one colour, cut from another of the batch: the mask is where it differs."""
    images = torch.tensor([0.2, 0.8]).view(2, 1, 1, 1).expand(-1, 3, HEIGHT, WIDTH).clone()
    for augmenter in (CutPaste, CutPasteScar):
        result = augmenter(probability=1, jitter=0, source="other").augment(
            batch_of(images), draws()
        )
        assert torch.equal((result.images != images).any(1), result.masks)
        assert result.masks.flatten(1).any(1).all()


def test_only_scars_are_rotated_as_in_the_paper():
    result = CutPaste(probability=1, turned="scars").augment(batch_of(ramps(64)), draws())
    upright = []
    for mask in result.masks:
        rows, columns = mask.nonzero().T
        upright.append(mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all())
    upright = torch.stack(upright)
    assert upright[result.kind == 1].all()
    assert upright[result.kind == 2].float().mean() < 0.5


def test_scars_alone_have_the_sizes_of_the_paper():
    """Width 2 to 16 and length 10 to 25 px, at 256 px; half a pixel is lost at each border."""
    images = torch.rand(64, 3, 256, 256, generator=draws())
    result = CutPasteScar(probability=1).augment(batch_of(images), draws())
    assert set(result.kind.tolist()) == {1}
    for mask in result.masks.numpy().astype(np.uint8):
        _, sides, _ = cv2.minAreaRect(cv2.findNonZero(mask))
        area = mask.sum()
        assert 2 * 10 - 8 <= area <= 16 * 25 + 10
        assert max(sides) + 1 <= 25 + 1.5
        assert min(sides) + 1 <= 16 + 1.5


# ---------------------------------------------------------------- network


def test_the_papers_encoder_is_a_resnet_18():
    with torch.device("meta"):
        network, known = ResNet18(64), resnet18()
    known.fc = nn.Identity()
    counts = [sum(p.numel() for p in n.parameters()) for n in (network, known)]
    assert counts[0] == counts[1] == 11_176_512


def test_the_encoder_computes_what_torchvisions_resnet_does():
    known, network = resnet18().eval(), ResNet18(64).eval()
    known.fc = nn.Identity()
    ours = network.state_dict()
    theirs = known.state_dict()
    # Here, a block's shortcut comes before its convolutions.
    names = sorted(theirs, key=lambda name: (name.split(".")[:2], "downsample" not in name))
    names = [name for name in theirs if not name.startswith("layer")] + [
        name for name in names if name.startswith("layer")
    ]
    assert [theirs[name].shape for name in names] == [value.shape for value in ours.values()]
    network.load_state_dict(dict(zip(ours, (theirs[name] for name in names), strict=True)))
    images = torch.rand(2, 3, 64, 96, generator=draws())
    torch.testing.assert_close(network(images), known(images), rtol=1e-4, atol=1e-4)


def test_sspcab_replaces_the_last_convolution_but_one():
    model = CutPasteClassifier(**TINY | {"sspcab": True})
    model.rebuild({}, fitting.tools(None, SIDE))
    blocks = [name for name, m in model.encoder.named_modules() if isinstance(m, SSPCAB)]
    assert blocks == ["blocks.7.convolutions.0"]


# ---------------------------------------------------------------- model


def fitted(checkpoint=None, seed=0, augmenter=None, images=None, **params):
    checkpoint = checkpoint or FileCheckpoint(None)
    tools = dataclasses.replace(
        fitting.tools(augmenter or CutPaste(), SIDE, seed),
        checkpoint=checkpoint,
        log=checkpoint.log,
    )
    images = fitting.textures(7, SIDE) if images is None else images
    return CutPasteClassifier(**TINY | params).fit(fitting.train(images), tools)


def embedded(model, images):
    with torch.no_grad():
        return model.predict(fitting.batch(images))[ImageEmbeddings].values


@pytest.mark.parametrize("sspcab", [False, True])
def test_training_lowers_the_loss(sspcab):
    checkpoint = FileCheckpoint(None)
    params = {"width": 4, "steps": 60, "batch": 12, "sspcab": sspcab}
    images = fitting.textures(12, SIDE)
    fitted(checkpoint, images=images, augmenter=fitting.Blobs(), **params)
    losses = checkpoint.curves["loss 1"]
    assert np.mean(losses[-10:]) < 0.3 * np.mean(losses[:10])


def test_the_loss_gives_each_class_the_same_weight():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, 3))
    clean, changed = torch.rand(2, 4, 3, 1, 1, generator=draws())
    kind = torch.tensor([0, 1, 1, 2])
    made = Augmented(changed, torch.zeros(4, 1, 1, dtype=torch.bool), kind)
    found = CutPasteClassifier(**TINY)._loss(network, clean, made)
    losses = functional.cross_entropy(
        network(torch.cat([clean, changed])), torch.cat([torch.zeros(4).long(), kind]),
        reduction="none",
    )  # fmt: skip
    expected = (losses[:5].mean() + losses[5:7].mean() + losses[7]) / 3
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    made = Augmented(changed, made.masks, torch.zeros(4).long())
    assert CutPasteClassifier(**TINY)._loss(network, clean, made).isfinite()


def test_an_sspcab_adds_a_tenth_of_its_error():
    model = CutPasteClassifier(**TINY | {"sspcab": True})
    model.rebuild({}, fitting.tools(None, SIDE))
    network = nn.Sequential(model.encoder, head(16, 3)).eval()
    images = fitting.textures(4, SIDE)
    made = CutPaste(probability=1).augment(batch_of(images), draws())
    seen = []
    block = model.encoder.blocks[7].convolutions[0]
    hook = block.register_forward_hook(lambda _, given, out: seen.append((given[0], out)))
    found = model._loss(network, images, made)
    hook.remove()
    [(given, out)] = seen
    block.forward = lambda grids: out  # no longer collected
    without = CutPasteClassifier(**TINY)
    network[0].blocks[7].convolutions[0] = nn.Sequential(Constant(out))
    expected = without._loss(network, images, made) + 0.1 * functional.mse_loss(out, given)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


class Constant(nn.Module):
    def __init__(self, out):
        super().__init__()
        self.out = out

    def forward(self, _):
        return self.out


def test_images_are_moved_by_whole_pixels_within_the_limit():
    images = ramps(64)
    model = CutPasteClassifier(**TINY | {"jitter": 0, "shift": 0.05})
    moved = model._moved(images, draws())
    away = 2 * WIDTH * (moved - images)[:, :2, HEIGHT // 2, WIDTH // 2]
    torch.testing.assert_close(away, away.round(), atol=1e-2, rtol=0)
    assert away[:, 0].abs().max().round() == round(0.05 * WIDTH)
    assert away[:, 1].abs().max().round() == round(0.05 * HEIGHT)
    assert away.min() < 0
    still = CutPasteClassifier(**TINY | {"jitter": 0, "shift": 0})._moved(images, draws())
    torch.testing.assert_close(still, images, atol=1e-5, rtol=0)


def test_colours_change_by_the_jitter_at_most():
    grey = torch.full((200, 3, 4, 4), 0.5)
    moved = CutPasteClassifier(**TINY | {"jitter": 0.1, "shift": 0})._moved(grey, draws())
    assert moved.min() >= 0.45 - 1e-4
    assert moved.max() <= 0.55 + 1e-4
    assert moved.std() > 0.01


def test_optimisers_and_the_cosine(monkeypatch):
    seen = []
    for kind in (torch.optim.SGD, torch.optim.Adam):
        step = kind.step
        monkeypatch.setattr(
            kind,
            "step",
            lambda self, *args, step=step: (
                seen.append((type(self), dict(self.param_groups[0]))) or step(self, *args)
            ),
        )
    fitted(steps=4)
    fitted(steps=4, optimiser="adam")
    assert [kind for kind, _ in seen] == 4 * [torch.optim.SGD] + 4 * [torch.optim.Adam]
    first = seen[0][1]
    assert (first["momentum"], first["weight_decay"]) == (0.9, 3e-5)
    rates = [group["lr"] for _, group in seen]
    half = 0.5**0.5
    assert rates == pytest.approx(2 * [0.03 * (1 + c) / 2 for c in (1, half, 0, -half)])


def test_fit_depends_on_its_seed_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = fitted(sspcab=True)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again, other = fitted(sspcab=True), fitted(sspcab=True, seed=1)
    images = fitting.textures(3, SIDE, 5)
    assert torch.equal(embedded(first, images), embedded(again, images))
    assert not torch.allclose(embedded(first, images), embedded(other, images))


class Interrupts(CutPaste):
    calls = 0
    fails_at = None

    def augment(self, batch, generator):
        self.calls += 1
        if self.calls == self.fails_at:
            raise KeyboardInterrupt
        return super().augment(batch, generator)


@pytest.mark.parametrize("fails_at", [2, 4, 6])
def test_interrupted_training_ends_the_same(tmp_path, monkeypatch, fails_at):
    """Seven images in batches of four: interruptions fall within and between passes."""
    monkeypatch.setattr(stages, "SECONDS", -1.0)
    whole, path = FileCheckpoint(None), tmp_path / "state.pt"
    expected = fitted(whole, augmenter=Interrupts(), batch=4)
    broken = Interrupts()
    broken.fails_at = fails_at
    with pytest.raises(KeyboardInterrupt):
        fitted(FileCheckpoint(path), augmenter=broken, batch=4)
    resumed, rest = FileCheckpoint(path), Interrupts()
    found = fitted(resumed, augmenter=rest, batch=4)
    assert rest.calls == 6 - (fails_at - 1)
    for ours, theirs in zip(
        found.encoder.state_dict().values(), expected.encoder.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)
    assert resumed.curves == whole.curves


def test_any_augmenter_makes_the_classes(tmp_path):
    """The head has a class for each kind, which the stored encoder does not need."""
    first = fitted(augmenter=CutPasteScar())
    assert embedded(first, fitting.textures(2, SIDE)).shape == (2, 16)
    assert set(vars(first)) - set(vars(CutPasteClassifier(**TINY))) == {"encoder"}


# ---------------------------------------------------------------- scorer


def outputs(vectors):
    return Outputs((8, 8), ImageEmbeddings(vectors))


@pytest.mark.parametrize("count", [6, 400])
def test_the_score_is_the_distance_of_mahalanobis(count):
    """scikit-learn's estimate is squared; fewer images than dimensions are enough."""
    from sklearn.covariance import LedoitWolf

    rng = np.random.default_rng(0)
    normal = (rng.normal(size=(count, 12)) @ rng.normal(size=(12, 12))).astype(np.float32)
    test = (5 * rng.normal(size=(9, 12))).astype(np.float32)
    scorer = ImageMahalanobis()
    halves = [outputs(torch.tensor(half)) for half in np.array_split(normal, 2)]
    scorer.fit(fitting.Walked(halves), draws())
    found = scorer.score(outputs(torch.tensor(test))).image
    expected = LedoitWolf().fit(normal.astype(float)).mahalanobis(test.astype(float)) ** 0.5
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found.dtype == torch.float32


def test_normal_images_that_are_all_the_same_give_finite_scores():
    scorer = ImageMahalanobis()
    scorer.fit(fitting.Walked([outputs(torch.ones(4, 3))]), draws())
    assert scorer.score(outputs(torch.rand(5, 3))).image.isfinite().all()


def test_pyods_scorers_of_images_fit_it():
    pytest.importorskip("pyod")
    from adbench_pyod.scorers import ImageDetector

    catalogue = plugins.load(["cutpaste", "pyod"])
    model = fitted(images=fitting.textures(12, SIDE))
    trained, test = (
        outputs(embedded(model, fitting.textures(count, SIDE, count))) for count in (12, 4)
    )
    scorers = [offer.component() for offer in catalogue.offers["scorer"].values()]
    chosen = [s for s in scorers if isinstance(s, ImageDetector) and s.accepts <= model.emits]
    assert len(chosen) == 8
    for scorer in chosen:
        scorer.fit(fitting.Walked([trained]), draws())
        assert scorer.score(test).image.isfinite().all()


# ---------------------------------------------------------------- presets, recipes, reported


def test_presets():
    catalogue = plugins.load(["cutpaste"])
    written = grammar.component("cutpaste:preset=paper")
    assert parameters.resolve(catalogue, "model", written).label == "cutpaste"
    paper = CutPasteClassifier()
    assert (paper.steps, paper.batch, paper.learning_rate, paper.width) == (65_536, 48, 0.03, 64)
    assert paper.input.size == (256, 256)


def test_recipes_are_valid_suites():
    catalogue = plugins.load(["cutpaste"])
    recipes = list(adbench_recipes())
    for recipe in recipes:
        checked = suite.validate({**recipe.suite, "plugins": ["cutpaste"]}, recipe.name)
        for kind, axis in (
            ("model", checked.models),
            ("scorer", checked.scorers),
            ("augmenter", checked.augmenters),
        ):
            [[wanted]] = axis
            parameters.build(catalogue, kind, parameters.resolve(catalogue, kind, wanted))
    named = {row.recipe for row in adbench_reported()} - {None}
    assert named <= {recipe.name for recipe in recipes}


def test_reported_means_are_those_of_the_categories():
    columns = defaultdict(dict)
    for row in adbench_reported():
        columns[row.method, row.metric][row.category] = row.value
    assert columns["CutPaste 3-way", "image_auroc"]["bottle"] == 0.983
    whole = [column for column in columns.values() if len(column) > 1]
    assert len(whole) == 5
    for column in whole:
        mean = column.pop("mean")
        assert len(column) == 15
        assert np.mean(list(column.values())) == pytest.approx(mean, abs=1e-3)
