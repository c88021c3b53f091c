from __future__ import annotations

import copy
from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from adbench_cutpaste.augmenter import CutPaste
from adbench_harness.basic.backbones import BACKBONES
from adbench_harness.errors import UserError
from adbench_harness.planning import grammar, parameters, plugins, suite
from adbench_harness.running.checkpoint import FileCheckpoint
from adbench_harness.types import Batch, PatchBank, PatchEmbeddings
from adbench_patchae import adbench_recipes, adbench_reported, requires
from adbench_patchae.collapse import collapse
from adbench_patchae.model import PatchAE
from adbench_patchae.network import PatchAutoEncoder, reconstruction_loss

NETWORKS = {backbone.name: backbone for backbone in BACKBONES}


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def batch_of(images):
    return Batch(images, torch.arange(len(images)))


# ---------------------------------------------------------------- network and loss


def loss_reference(rebuilt, images, side, alpha, ddof):
    total = 0.0
    for ours, theirs in zip(rebuilt, images, strict=True):
        for y in range(0, ours.shape[1], side):
            for x in range(0, ours.shape[2], side):
                a, b = (i[:, y : y + side, x : x + side].ravel() for i in (ours, theirs))
                na, nb = ((v - v.mean()) / np.sqrt(v.var(ddof=ddof) + 1e-6) for v in (a, b))
                total += alpha * np.linalg.norm(na - nb) + (1 - alpha) * np.linalg.norm(a - b)
    return total / len(images)


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("alpha", [0, 0.3, 1])
def test_loss_is_eq_3(alpha, unbiased):
    rng = np.random.default_rng(0)
    rebuilt, images = rng.random((2, 3, 3, 8, 12))
    images[0, :, :4, :4] = 0.5  # a flat patch has no deviation
    found = reconstruction_loss(
        torch.tensor(rebuilt), torch.tensor(images), 4, alpha, unbiased=unbiased
    )
    expected = loss_reference(rebuilt, images, 4, alpha, int(unbiased))
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_loss_ignores_gain_and_offset_of_a_patch_only_where_it_is_normalised():
    images = torch.rand(2, 3, 8, 8, generator=draws(), dtype=torch.float64)
    other = 0.4 * images + 0.2
    assert reconstruction_loss(other, images, 4, 1.0) < 1e-3
    assert reconstruction_loss(other, images, 4, 0.0) > 0.1


@pytest.mark.parametrize("content", ["equal", "flat"])
def test_gradient_is_finite_where_there_is_no_error(content):
    images = (
        torch.rand(1, 3, 8, 8, generator=draws()) if content == "equal" else torch.ones(1, 3, 8, 8)
    )
    rebuilt = images.clone().requires_grad_()
    loss = reconstruction_loss(rebuilt, images, 4, 0.5)
    loss.backward()
    assert loss == 0
    assert torch.equal(rebuilt.grad, torch.zeros_like(images))


def test_gradient_of_the_loss():
    rebuilt, images = torch.rand(2, 2, 3, 4, 4, generator=draws(), dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda x: reconstruction_loss(x, images, 2, 0.5), rebuilt.requires_grad_()
    )


class Tiny(torch.nn.Module):
    """Two layers, at strides 4 and 8, that can be trained."""

    def __init__(self):
        super().__init__()
        self.fine = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 4, 4), torch.nn.BatchNorm2d(5))
        self.coarse = torch.nn.Conv2d(3, 6, 8, 8)

    def forward(self, images):
        return {"coarse": self.coarse(images), "fine": self.fine(images)}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return PatchAutoEncoder(Tiny(), 7, torch.zeros(1, 3, 16, 24)).eval()


def test_each_vector_rebuilds_its_own_patch(network):
    features = torch.randn(1, 7, 4, 6, generator=draws())
    rebuilt = network.decoder(features)
    assert rebuilt.shape == (1, 3, 16, 24)
    for i, j in ((0, 0), (2, 5), (3, 1)):
        other = features.clone()
        other[:, :, i, j] += 1
        changed = (network.decoder(other) != rebuilt)[0]
        inside = torch.zeros(16, 24, dtype=torch.bool)
        inside[4 * i : 4 * i + 4, 4 * j : 4 * j + 4] = True
        assert changed[:, inside].all()
        assert not changed[:, ~inside].any()


def test_layout_of_a_rebuilt_patch(network):
    last = copy.deepcopy(network.decoder)
    torch.nn.init.zeros_(last[2].weight)
    last[2].bias.data = torch.arange(48.0)
    patch = last(torch.rand(1, 7, 4, 6))[0, :, 4:8, 20:24]
    assert torch.equal(patch, torch.arange(48.0).view(3, 4, 4))


def test_features_see_no_more_than_the_backbone(network):
    """A vector comes from its own cell of the fine layer and of the coarse one, resized."""
    images = torch.rand(1, 3, 16, 24, generator=draws())
    grids = network.backbone(images)
    coarse = torch.nn.functional.interpolate(grids["coarse"], (4, 6), mode="bilinear")
    joined = torch.cat([coarse, grids["fine"]], 1)
    first, second = network.compress[0], network.compress[2]
    hidden = torch.relu(
        torch.einsum("dc,bchw->bdhw", first.weight[..., 0, 0], joined) + first.bias[:, None, None]
    )
    expected = torch.relu(
        torch.einsum("dc,bchw->bdhw", second.weight[..., 0, 0], hidden) + second.bias[:, None, None]
    )
    torch.testing.assert_close(network.encode(images), expected)


def test_width_of_the_papers_network():
    """512 + 1024 channels to c3, and 8 x 8 x 3 values a vector."""

    class Wide(torch.nn.Module):
        def forward(self, images):
            return {
                "layer2": images.new_zeros(1, 512, 28, 28),
                "layer3": images.new_zeros(1, 1024, 14, 14),
            }

    network = PatchAutoEncoder(Wide(), 512, torch.zeros(1, 3, 224, 224))
    assert network.patch == 8
    assert [m.out_channels for m in network.modules() if isinstance(m, torch.nn.Conv2d)] == [
        512, 512, 512, 192,
    ]  # fmt: skip
    assert sum(p.numel() for p in network.parameters()) == 1537 * 512 + 513 * (512 + 512 + 192)


def test_input_that_patches_do_not_tile_is_refused():
    with pytest.raises(UserError, match=r"18 x 20 px.*4 x 5"):
        PatchAutoEncoder(Tiny(), 4, torch.zeros(1, 3, 18, 20))


# ---------------------------------------------------------------- model


class Images:
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def batches(self, size=None, generator=None):
        order = torch.arange(len(self.images))
        if generator is not None:
            order = torch.randperm(len(order), generator=generator)
        for part in order.split(size or 3):
            yield Batch(self.images[part], part)


def tools(backbone=Tiny, augmenter=None, checkpoint=None, seed=0):
    checkpoint = checkpoint or FileCheckpoint(None)
    return SimpleNamespace(
        device=torch.device("cpu"),
        generator=draws(seed),
        augmenter=augmenter,
        trainable=lambda _: backbone(),
        progress=lambda *_: None,
        log=checkpoint.log,
        checkpoint=checkpoint,
    )


def resnet18():
    return NETWORKS["resnet18"]().network(("layer2", "layer3"))


def embedded():
    return NETWORKS["embedded"]().network(("layer2", "layer3"))


@pytest.fixture(scope="module")
def images():
    """Smooth colour gradients in a few shades."""
    coarse = torch.rand(6, 3, 3, 3, generator=draws())
    return torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear")


def fitted(images, params=None, **kwargs):
    params = {"width": 16, "epochs": 2, "batch": 2, "resize": 32, "crop": 32} | (params or {})
    return PatchAE(**params).fit(Images(images), tools(**kwargs))


def parameters_of(model):
    return [p.detach().clone() for p in model.network.parameters()]


def test_training_rebuilds_images_better_than_before(images):
    checkpoint = FileCheckpoint(None)
    params = {"epochs": 30, "learning_rate": 5e-3}
    model = fitted(images, params, augmenter=CutPaste(), checkpoint=checkpoint)
    losses = checkpoint.curves["loss"]
    assert len(losses) == 30
    assert losses[-1] < 0.75 * losses[0]
    with torch.no_grad():
        assert (model.network(images) - images).square().mean() < images.var() / 2


def test_pretrained_layers_learn_but_keep_their_statistics(images):
    backbone = resnet18()
    given = copy.deepcopy(backbone)
    model = fitted(images[:2], {"epochs": 1}, backbone=lambda: backbone)
    assert model.network.backbone is backbone
    for (name, now), then in zip(backbone.named_parameters(), given.parameters(), strict=True):
        assert not torch.equal(now, then), name
    for (name, now), then in zip(backbone.named_buffers(), given.buffers(), strict=True):
        assert torch.equal(now, then), name


def test_a_frozen_backbone_keeps_its_weights_and_the_new_layers_learn(images):
    backbone = resnet18()
    given = copy.deepcopy(backbone)
    untrained, frozen = (
        fitted(
            images,
            {"epochs": n, "backbone_rate": 0.0},
            backbone=lambda: copy.deepcopy(backbone),
        )
        for n in (0, 2)
    )
    for now, then in zip(frozen.network.backbone.parameters(), given.parameters(), strict=True):
        assert torch.equal(now, then)
    assert not torch.equal(frozen.network.compress[0].weight, untrained.network.compress[0].weight)


def test_a_slower_backbone_moves_less_at_its_share_of_the_rate(images):
    """Adam's first step is the learning rate, whatever the gradient."""
    moved = []
    for share in (0.1, 1.0):
        given = resnet18()
        params = {"epochs": 1, "batch": 6, "backbone_rate": share}
        model = fitted(images, params, backbone=lambda given=given: copy.deepcopy(given))
        pairs = zip(model.network.backbone.parameters(), given.parameters(), strict=True)
        moved.append(max(float((now - then).detach().abs().max()) for now, then in pairs))
    assert moved == pytest.approx([1e-5, 1e-4], rel=0.01)


def test_collapse_of_known_features():
    light = torch.linspace(0, 1, 400)
    other = torch.randn(400, generator=draws())
    other = (
        other
        - other.mean()
        - (other @ (light - 0.5)) / ((light - 0.5) @ (light - 0.5)) * (light - 0.5)
    )
    line = light[:, None] * torch.tensor([[3.0, 4.0, 0.0]])
    assert collapse(line, light) == pytest.approx((1, 1), abs=1e-4)
    both = torch.stack([(light - 0.5) / light.std(), other / other.std()], 1)
    assert collapse(both, light) == pytest.approx((2, 0.5), abs=1e-3)
    noise = torch.randn(20000, 8, generator=draws(1))
    rank, share = collapse(noise, torch.rand(20000, generator=draws(2)))
    assert rank == pytest.approx(8, rel=0.01)
    assert share < 1e-3
    assert collapse(torch.ones(5, 3), torch.rand(5)) == (0, 0)


def test_the_collapse_is_logged_before_and_after_training(images):
    logged = FileCheckpoint(None)
    fitted(images, {"epochs": 0}, checkpoint=logged)
    [rank] = logged.curves["effective rank"]
    [share] = logged.curves["variance explained by brightness"]
    assert 1 <= rank <= 16
    assert 0 <= share <= 1


def test_a_backbone_without_parameters_stays_as_it_is(images):
    untrained, trained = (fitted(images, {"epochs": n}, backbone=embedded) for n in (0, 2))
    assert len(list(trained.network.parameters())) == 8
    for now, then in zip(
        trained.network.backbone.buffers(), untrained.network.backbone.buffers(), strict=True
    ):
        assert torch.equal(now, then)
    assert not torch.equal(parameters_of(trained)[0], parameters_of(untrained)[0])


class Damage:
    """Blackens every image, and keeps what it was given."""

    def __init__(self):
        self.seen = []

    def augment(self, batch, generator):
        self.seen.append(batch.images)
        return SimpleNamespace(images=torch.zeros_like(batch.images))


def test_damaged_images_are_the_target_and_stay_out_of_the_bank(images):
    damage, checkpoint = Damage(), FileCheckpoint(None)
    params = {"epochs": 30, "learning_rate": 1e-2, "coreset_ratio": 1.0}
    model = fitted(images, params, augmenter=damage, checkpoint=checkpoint)
    assert len(damage.seen) == 90
    for epoch in (damage.seen[:3], damage.seen[3:6]):
        assert sorted(torch.cat(epoch).mean((1, 2, 3))) == sorted(images.mean((1, 2, 3)))
    black = torch.zeros_like(images[:1])
    with torch.no_grad():
        assert model.network(black).abs().mean() < 0.05
    clean = model.embed(batch_of(images)).flatten(0, 2)
    torch.testing.assert_close(model.bank.bank, clean)


@pytest.mark.parametrize(("ratio", "kept"), [(0.001, 1), (0.25, 96), (1.0, 384)])
def test_bank_is_a_coreset_of_the_training_features(images, ratio, kept):
    model = fitted(images, {"coreset_ratio": ratio})
    features = model.embed(batch_of(images)).flatten(0, 2)
    assert features.shape == (384, 16)
    nearest = cdist(model.bank.bank, features)
    assert len(nearest) == kept
    assert nearest.min(1).max() < 1e-5
    outputs = model.predict(batch_of(images[:2]))
    assert outputs[PatchEmbeddings].levels[0].values.shape == (2, 8, 8, 16)
    assert outputs[PatchBank].levels == (model.bank,)
    assert outputs.input_size == (32, 32)


def test_learned_is_what_prediction_carries_and_not_the_decoder(images):
    model = fitted(images)
    carried = sum(tensor.numel() for tensor in model.learned())
    backbone = sum(p.numel() for p in model.network.backbone.parameters())
    assert carried == model.bank.bank.numel() + backbone + (5 + 6 + 1) * 16 + 17 * 16


def test_fit_draws_from_its_generator_alone(images):
    torch.manual_seed(1)
    first = fitted(images, augmenter=CutPaste())
    torch.manual_seed(2)
    before = torch.get_rng_state()
    again, other = (fitted(images, augmenter=CutPaste(), seed=seed) for seed in (0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.bank.bank, again.bank.bank)
    assert not torch.equal(first.bank.bank, other.bank.bank)


def test_refit_forgets(images):
    model = fitted(images[:3])
    model.fit(Images(images[3:]), tools())
    fresh = fitted(images[3:])
    assert torch.equal(model.bank.bank, fresh.bank.bank)
    assert all(map(torch.equal, parameters_of(model), parameters_of(fresh)))


class Interrupts(CutPaste):
    """Fails at its n-th batch."""

    def __init__(self, n):
        super().__init__()
        self.left = n

    def augment(self, batch, generator):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().augment(batch, generator)


@pytest.mark.parametrize("backbone", [resnet18, embedded])
def test_resumed_training_is_the_uninterrupted_one_bit_by_bit(images, backbone, tmp_path):
    params, path = {"epochs": 4}, tmp_path / "state.pt"
    whole = FileCheckpoint(tmp_path / "whole.pt")
    expected = fitted(images, params, backbone=backbone, augmenter=CutPaste(), checkpoint=whole)
    with pytest.raises(KeyboardInterrupt):
        fitted(
            images,
            params,
            backbone=backbone,
            augmenter=Interrupts(8),
            checkpoint=FileCheckpoint(path),
        )
    resumed = FileCheckpoint(path)
    augmenter = Interrupts(6)  # two epochs of three batches are left
    found = fitted(images, params, backbone=backbone, augmenter=augmenter, checkpoint=resumed)
    assert augmenter.left == 0
    assert all(map(torch.equal, parameters_of(found), parameters_of(expected)))
    assert torch.equal(found.bank.bank, expected.bank.bank)
    assert resumed.curves == whole.curves


# ---------------------------------------------------------------- presets, recipe, reported


def test_presets():
    catalogue = plugins.load(["patchae"])

    def label(written):
        return parameters.resolve(catalogue, "model", grammar.component(written)).label

    assert label("patchae") == "patchae(epochs=4,alpha=1.0,backbone_rate=0.1)"
    assert label("patchae:preset=paper") == "patchae"
    assert label("patchae:preset=smoke:epochs=0") == "patchae(epochs=0,batch=4,width=16)"
    paper = PatchAE()
    assert (paper.epochs, paper.batch, paper.width, paper.learning_rate) == (100, 8, 512, 1e-4)


def test_recipe_is_a_valid_suite():
    catalogue = plugins.load(["patchae"])
    [recipe] = adbench_recipes()
    checked = suite.validate({**recipe.suite, "plugins": ["patchae"]}, recipe.name)
    for kind, axis in (("model", checked.models), ("scorer", checked.scorers)):
        [[wanted]] = axis
        parameters.build(catalogue, kind, parameters.resolve(catalogue, kind, wanted))
    assert requires == ("cutpaste", "patchcore")
    assert {row.recipe for row in adbench_reported()} == {None, recipe.name}


def test_reported_means_are_those_of_the_printed_columns():
    columns, marked = defaultdict(dict), defaultdict(set)
    for row in adbench_reported():
        assert 0.5 < row.value <= 1
        columns[row.method][row.category] = row.value
        for mark in row.marks:
            marked[mark].add((row.method, row.category))
        assert (row.metric == "pixel_auroc") == ("printed-as-image-auroc" in row.marks)
    assert len(columns) == 12
    ensemble = columns.pop("PatchCore ensemble 1% (320 px)")
    assert ensemble == {"mean": 0.996}
    for by_category in columns.values():
        mean = by_category.pop("mean")
        assert len(by_category) == 15
        assert np.mean(list(by_category.values())) == pytest.approx(mean, abs=1e-4)
    assert columns["Patch AE"]["screw"] == 0.977
    assert marked["misprint"] == {
        (method, category)
        for method, wrong in (("SSIM-AE", "toothbrush"), ("CFA", "carpet"))
        for category in (wrong, "mean")
    }
    assert {method for method, _ in marked["printed-as-image-auroc"]} == {
        "L2-AE", "SSIM-AE", "VAE-grad",
    }  # fmt: skip
