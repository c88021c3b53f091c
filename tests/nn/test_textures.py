from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image, ImageEnhance, ImageOps

from adbench_harness.nn import textures
from adbench_harness.nn.textures import Textures, jitter, pieces, procedural
from adbench_harness.testing.fitting import textures as stripes
from adbench_harness.testing.fitting import tools, train


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def as_pil(image):
    return Image.fromarray((image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())


def as_tensor(image):
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255


@pytest.mark.parametrize("source", ["self", "procedural", "dtd"])
def test_a_pool_of_the_images_size_that_repeats_from_its_seed(source):
    images = train(stripes(5, 32))
    pool = Textures(source, images, tools(None, 32, seed=1))
    assert pool.pixels.shape[1:] == (3, 32, 32)
    assert pool.pixels.dtype == torch.uint8
    assert len(pool.pixels.unique(dim=0)) == len(pool)
    again = Textures(source, images, tools(None, 32, seed=1))
    assert torch.equal(pool.pixels, again.pixels)
    if source != "dtd":
        other = Textures(source, images, tools(None, 32, seed=2))
        assert not torch.equal(pool.pixels, other.pixels)
    drawn, places = pool.draw(7, draws(), torch.device("cpu"))
    assert torch.equal((drawn * 255).round().to(torch.uint8), pool.pixels[places])


def test_self_needs_nothing_but_the_training_images():
    black = Textures("self", train(torch.zeros(3, 3, 32, 32)), tools(None, 32))
    # Of a uniform image, a piece is as uniform, whatever its colour.
    assert (black.pixels.flatten(2).amax(2) == black.pixels.flatten(2).amin(2)).all()
    assert len(black.pixels.unique(dim=0)) > 100


def test_pieces_are_enlarged():
    images = stripes(64, 64)
    original = images.diff(dim=3).abs().mean()
    gain = pieces(images, draws()).std((2, 3)).mean() / images.std((2, 3)).mean()
    assert pieces(images, draws()).diff(dim=3).abs().mean() / gain < original


def test_procedural_textures_differ_in_scale_contrast_and_colour():
    made = procedural(200, (64, 48), draws())
    assert made.shape == (200, 3, 64, 48)
    assert made.min() >= 0
    assert made.max() <= 1
    assert made.mean((2, 3)).std(0).min() > 0.15
    roughness = made.diff(dim=3).abs().mean((1, 2, 3)) / made.std((1, 2, 3)).clamp(min=1e-3)
    assert roughness.max() > 10 * roughness.min()
    saturation = (made.amax(1) - made.amin(1)).mean((1, 2))
    assert (saturation < 0.1).float().mean() > 0.2
    assert saturation.max() > 0.4


def test_jitter_applies_three_of_four_in_any_order():
    """With affine maps as operations, every result names its history."""
    maps = [lambda x, _, n=number: 10 * x + n for number in range(1, 5)]
    found = jitter(torch.zeros(2000, 3, 2, 2), draws(), maps)[:, 0, 0, 0].int().tolist()
    histories = {str(value) for value in found}
    assert all(len(set(history)) == 3 for history in histories)
    assert len(histories) == 24
    assert max(found.count(int(h)) for h in histories) < 2 * 2000 / 24


def test_jitter_has_four_operations_unless_it_is_given_others():
    images = torch.rand(6, 3, 8, 8, generator=draws())
    named = (textures._gamma, textures._brightness, textures._sharpness, textures._autocontrast)
    assert torch.equal(jitter(images, draws()), jitter(images, draws(), named))
    assert torch.equal(jitter(images, draws(), [lambda x, _: x] * 10), images)


def test_jitter_repeats_from_its_seed_and_leaves_its_input_alone():
    images = procedural(8, (32, 32), draws())
    before = images.clone()
    first = jitter(images, draws(3))
    assert torch.equal(images, before)
    assert torch.equal(first, jitter(images, draws(3)))
    assert not torch.equal(first, jitter(images, draws(4)))
    assert first.min() >= 0
    assert first.max() <= 1
    changed = (first - images).flatten(1).abs().amax(1)
    assert (changed > 0.02).all()


def test_gamma_is_drawn_for_each_channel():
    images = torch.full((1, 3, 2, 2), 0.25)
    changed = textures._gamma(images, torch.tensor([[0.0, 1 / 3, 1.0]]))
    torch.testing.assert_close(changed[0, :, 0, 0], torch.tensor([0.5, 0.25, 0.0625]))


def test_brightness_at_its_ends():
    images = torch.full((2, 3, 2, 2), 0.5)
    changed = textures._brightness(images, torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 0.0]]))
    ends = torch.tensor([0.4 - 30 / 255, 0.6 + 30 / 255])
    torch.testing.assert_close(changed[:, 0, 0, 0], ends)


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 3.0])
def test_sharpness_is_pillows(factor):
    image = procedural(6, (40, 50), draws())[2]
    draw = torch.tensor([[factor / 3, 0.0, 0.0]])
    found = textures._sharpness(image[None], draw)[0, :, 1:-1, 1:-1]
    expected = as_tensor(ImageEnhance.Sharpness(as_pil(image)).enhance(factor))[:, 1:-1, 1:-1]
    torch.testing.assert_close(found, expected, atol=4 / 255, rtol=0)


@pytest.mark.parametrize("cutoff", [0, 10, 20])
def test_autocontrast_is_pillows(cutoff):
    image = as_tensor(skimage.data.astronaut()[::4, ::4] // 2 + 50)
    draw = torch.tensor([[cutoff / 20, 0.0, 0.0]])
    found = textures._autocontrast(image[None], draw)[0]
    expected = as_tensor(ImageOps.autocontrast(as_pil(image), cutoff=cutoff))
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


def test_autocontrast_leaves_a_uniform_image_alone():
    uniform = torch.full((2, 3, 8, 8), 0.3)
    assert torch.equal(textures._autocontrast(uniform, torch.zeros(2, 3)), uniform)
