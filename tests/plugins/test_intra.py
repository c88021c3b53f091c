from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from adbench_harness.nn.gms import msgms, msgms_map
from adbench_harness.nn.maps import mean_filter
from adbench_harness.nn.ssim import ssim
from adbench_harness.planning import grammar, parameters, plugins, suite
from adbench_harness.running.checkpoint import FileCheckpoint
from adbench_harness.testing import fitting
from adbench_harness.types import Outputs, Reconstruction
from adbench_intra import adbench_recipes
from adbench_intra.model import PRESETS, InTra
from adbench_intra.network import Attention, InpaintingTransformer
from adbench_intra.scorer import CentredMSGMS

SMOKE = PRESETS["smoke"]
LEARNING = SMOKE | {"epochs": 150}
"""Long enough to find a defect."""


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def fitted(model, seed=0, checkpoint=None):
    checkpoint = checkpoint or FileCheckpoint(None)
    side = model.input.size
    tools = dataclasses.replace(
        fitting.tools(None, side, seed), checkpoint=checkpoint, log=checkpoint.log
    )
    return model.fit(fitting.train(fitting.textures(8, side)), tools)


def made(model, images):
    with torch.no_grad():
        return model.predict(fitting.batch(images))[Reconstruction].outputs[0]


@pytest.fixture(scope="module")
def trained():
    checkpoint = FileCheckpoint(None)
    return fitted(InTra(**LEARNING), checkpoint=checkpoint), checkpoint.curves["loss"]


# ---------------------------------------------------------------- network


def test_attention_by_hand():
    attention = Attention(8, 2)
    tokens = torch.randn(1, 5, 8, generator=draws())
    query, key, value = (
        part(tokens)[0] for part in (attention.query, attention.key, attention.value)
    )
    assert query.shape == key.shape == (5, 4)
    heads = []
    for head in range(2):
        q, k = (each[:, 2 * head : 2 * head + 2] for each in (query, key))
        heads.append(torch.softmax(q @ k.T / 2**0.5, 1) @ value[:, 4 * head : 4 * head + 4])
    torch.testing.assert_close(attention(tokens)[0], attention.merge(torch.cat(heads, 1)))


def test_later_blocks_also_get_what_earlier_ones_returned():
    """With blocks that add 1 each, the tokens count them: block i adds that of block 5 - i."""

    class Adds(nn.Module):
        def forward(self, tokens):
            return tokens + 1

    network = InpaintingTransformer(4, 12, 8, 5, 2)
    network.blocks = nn.ModuleList(Adds() for _ in range(5))
    network.predict = nn.Identity()
    with torch.no_grad():
        network.position.zero_()
        network.embed.weight.zero_()
        network.embed.bias.zero_()
        network.hidden.zero_()
        found = network(torch.rand(1, 4, 12), torch.arange(4)[None], torch.tensor([0]))
    # Blocks 0, 1 and 2 return 1, 2 and 3; block 3 returns 3 + 3 + 1, and block 4 7 + 2 + 1.
    torch.testing.assert_close(found, torch.full((1, 8), 10.0))


def test_the_network_has_the_published_size():
    network = InpaintingTransformer(256, 768, 512, 13, 8)
    assert len(network.blocks) == 13
    assert network.blocks[0].attention[1].query[0].out_features == 1024
    assert network.blocks[0].attention[1].query[2].out_features == 256
    assert network.predict.out_features == 768


# ---------------------------------------------------------------- windows


def test_a_window_has_its_patch_as_near_to_the_middle_as_the_border_allows():
    model = InTra(size=(160, 128), window=5)
    assert model.grid == (10, 8)
    places, hidden = model.windows()
    assert places.shape == (80, 25)
    assert torch.equal(places[torch.arange(80), hidden], torch.arange(80))
    rows, columns = (places // 8).view(80, 5, 5), (places % 8).view(80, 5, 5)
    for patch in range(80):
        assert rows[patch, 0, 0] == min(max(patch // 8 - 2, 0), 5)
        assert columns[patch, 0, 0] == min(max(patch % 8 - 2, 0), 3)
        assert torch.equal(rows[patch], rows[patch, 0, 0] + torch.arange(5)[:, None].expand(5, 5))
        assert torch.equal(columns[patch], columns[patch, 0, 0] + torch.arange(5).expand(5, 5))


def test_random_windows_are_everywhere_and_inside():
    model = InTra(size=(80, 96), window=3)
    places, hidden = model._random_windows(2000, draws())
    assert set(hidden.tolist()) == set(range(9))
    assert set(places[:, 0].tolist()) == {6 * y + x for y in range(3) for x in range(4)}
    assert places.max() == 29
    steps = places - places[:, :1]
    assert (steps == torch.tensor([0, 1, 2, 6, 7, 8, 12, 13, 14])).all()


def test_a_window_is_at_most_the_image():
    assert InTra(size=(48, 128), window=7).window == (3, 7)


def test_patches_and_back():
    model = InTra(**SMOKE)
    images = torch.rand(2, 3, 64, 64, generator=draws())
    patches = model._patches(images)
    assert patches.shape == (2, 16, 768)
    piece = patches[1, 6].view(3, 16, 16)
    assert torch.equal(piece, images[1, :, 16:32, 32:48])
    model._inpainted = lambda each: each
    assert torch.equal(made(model, images), images)


# ---------------------------------------------------------------- model


def test_training_lowers_the_loss_and_a_defect_is_inpainted_worse(trained):
    model, losses = trained
    assert len(losses) == LEARNING["epochs"]
    assert losses[-1] < 0.1 * losses[0]
    normal, planted = (
        (images - made(model, images)).square().mean()
        for images in (fitting.textures(4, 64, 3, blob=blob) for blob in (False, True))
    )
    assert planted > 3 * normal


def test_no_patch_is_seen_by_its_own_inpainting(trained):
    model, _ = trained
    image = fitting.textures(1, 64, 4)
    before = made(model, image)
    for row, column in ((0, 0), (1, 2), (3, 3)):
        patch = (..., slice(16 * row, 16 * row + 16), slice(16 * column, 16 * column + 16))
        changed = image.clone()
        changed[patch] = torch.rand(1, 3, 16, 16, generator=draws())
        after = made(model, changed)
        assert torch.equal(after[patch], before[patch])
        assert not torch.equal(after, before)


def test_loss_is_the_weighted_sum_of_three():
    model = InTra(weight=0.3)
    one, other = torch.rand(2, 5, 768, generator=draws())
    pieces = [values.view(5, 3, 16, 16) for values in (one, other)]
    expected = (one - other).square().mean() + 0.3 * (
        (1 - msgms(*pieces, 3).mean()) + (1 - ssim(*pieces).mean())
    )
    torch.testing.assert_close(model.loss(one, other), expected)


def test_the_learning_rate_falls_after_two_thirds(monkeypatch):
    rates = []
    monkeypatch.setattr(
        "adbench_intra.model.train_epochs", lambda *_, rate, **__: rates.append(rate)
    )
    fitted(InTra(**SMOKE | {"epochs": 300}))
    [rate] = rates
    assert [rate(done) for done in (0, 199.9, 200, 299)] == [1, 1, 0.1, 0.1]


def test_the_seed_draws_weights_and_windows_and_nothing_else_is_drawn():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again, other = (fitted(InTra(**SMOKE | {"epochs": 2}), seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    images = fitting.textures(1, 64)
    assert torch.equal(made(first, images), made(again, images))
    assert not torch.allclose(made(first, images), made(other, images))


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"multiple of the patch, 16 px.* not 72"):
        InTra(size=72)
    with pytest.raises(ValueError, match=r"multiple of the patch, 16 px.* not 16"):
        InTra(size=16)
    with pytest.raises(ValueError, match="width must be a multiple of 16"):
        InTra(width=24)


# ---------------------------------------------------------------- scorer


def test_the_map_of_normal_images_is_subtracted_and_the_rest_squared():
    images, others = torch.rand(2, 5, 3, 32, 40, generator=draws())
    batches = [
        Outputs((32, 40), Reconstruction(images[part], (others[part],)))
        for part in (slice(0, 3), slice(3, 5))
    ]
    scorer = CentredMSGMS()
    scorer.fit(fitting.Walked(batches), draws())
    plain = mean_filter(1 - msgms_map(images, others, 3), 21)
    expected = (plain - plain.mean(0)).square()
    found = scorer.score(batches[1])
    torch.testing.assert_close(found.map, expected[3:], rtol=1e-4, atol=1e-8)
    torch.testing.assert_close(found.image, found.map.amax((1, 2)))
    with pytest.raises(ValueError, match="odd number, not 4"):
        CentredMSGMS(smoothing=4)


# ---------------------------------------------------------------- presets, recipe


def test_presets():
    catalogue = plugins.load(["intra"])
    written = grammar.component("intra:preset=paper")
    assert parameters.resolve(catalogue, "model", written).label == "intra"
    paper = InTra()
    assert (paper.patch, paper.window, paper.width) == (16, (7, 7), 512)
    assert (paper.blocks, paper.heads, paper.epochs, paper.batch) == (13, 8, 2000, 256)


def test_recipe_is_a_valid_suite():
    catalogue = plugins.load(["intra"])
    [recipe] = adbench_recipes()
    checked = suite.validate({**recipe.suite, "plugins": ["intra"]}, recipe.name)
    for kind, axis in (("model", checked.models), ("scorer", checked.scorers)):
        [[wanted]] = axis
        parameters.build(catalogue, kind, parameters.resolve(catalogue, kind, wanted))


def test_no_number_is_reported():
    assert not list(plugins.load(["intra"]).reported())
