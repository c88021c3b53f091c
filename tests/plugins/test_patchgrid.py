from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from adbench_harness.errors import UserError
from adbench_harness.planning import parameters, plan, plugins, suite
from adbench_harness.planning.grammar import Wanted
from adbench_harness.planning.locations import Locations
from adbench_harness.testing.fitting import tools, train
from adbench_harness.types import Batch
from adbench_patchgrid import adbench_recipes, augmenter
from adbench_patchgrid.augmenter import PatchGrid, highest, join, random_affine, split

SOURCES = ["self", "perlin", "superpixel"]
IDENTITY = torch.tensor([[1.0, 0, 0], [0, 1, 0]])


def noise(count, height, width=None, seed=0):
    """Images of which no two patches are alike."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, height, width or height, generator=generator)


def augment(component, images, seed=0):
    batch = Batch(images=images, seeds=torch.arange(len(images)))
    return component.augment(batch, torch.Generator().manual_seed(seed))


def fitted(source="self", **params):
    component = PatchGrid(source=source, **params)
    return component.fit(train(noise(2, 48)), tools(None, 48))


def touched(masks, size):
    """Which tiles hold a changed pixel, [B, T]."""
    beyond = [-side % size for side in masks.shape[1:]]
    padded = functional.pad(masks[:, None].float(), (0, beyond[1], 0, beyond[0]))
    return split(padded, size).flatten(2).any(2)


def assert_share(values, share, sigmas=4):
    """The mean of independent booleans is ``share``, within the binomial's spread."""
    spread = (share * (1 - share) / values.numel()) ** 0.5
    assert abs(values.float().mean().item() - share) <= sigmas * spread


# ---------------------------------------------------------------- tiles


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 23))
def test_tiles_are_the_mirrored_images_blocks(height, width, size):
    images = noise(2, height, width)
    rows, columns = -(-height // size), -(-width // size)
    beyond = [(0, 0), (0, 0), (0, rows * size - height), (0, columns * size - width)]
    padded = np.pad(images, beyond, mode="symmetric")
    tiles = split(images, size)
    for place in range(rows * columns):
        top, left = place // columns * size, place % columns * size
        block = padded[:, :, top : top + size, left : left + size]
        np.testing.assert_array_equal(tiles[:, place], block)
    assert tiles.shape[1] == rows * columns
    assert torch.equal(join(tiles, height, width), images)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("share", [0.5, 0.2])
def test_a_tile_is_anomalous_with_the_given_probability(source, share):
    """Were a blob to cross its tile's border, more tiles than that would be touched."""
    result = augment(fitted(source, sizes=(16,), p_patch=share), noise(40, 128))
    tiles = touched(result.masks, 16)
    assert_share(tiles, share)
    beside = tiles.unflatten(1, (8, 8))
    assert_share(beside[:, :, 1:] & beside[:, :, :-1], share**2, sigmas=6)  # on its own


@pytest.mark.parametrize("source", SOURCES)
def test_every_size_is_drawn_alike_and_an_image_has_tiles_of_one(source):
    images = noise(120, 128)
    masks = augment(fitted(source, fill="full", sizes=(16, 32, 64)), images).masks

    def whole(size):
        tiles = split(masks[:, None].float(), size).flatten(2).mean(2)
        return ((tiles < 0.05) | (tiles > 0.95)).all(1)  # some values stay by chance

    largest = torch.stack([whole(size) for size in (16, 32, 64)])
    assert largest[0].all()
    assert_share(largest[2], 1 / 3)
    assert_share(largest[1] & ~largest[2], 1 / 3)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("height", "width"), [(70, 100), (64, 33), (20, 20)])
def test_tiles_that_the_border_cuts_take_part(source, height, width):
    images = noise(60, height, width)
    result = augment(fitted(source, sizes=(32,), fill="full"), images)
    assert result.images.shape == images.shape
    assert_share(touched(result.masks, 32), 0.5)
    assert_share(touched(result.masks, 32)[:, -1], 0.5)


# ---------------------------------------------------------------- masks and kinds


@pytest.mark.parametrize("fill", ["blob", "full"])
@pytest.mark.parametrize("source", SOURCES)
def test_the_mask_is_what_changed_by_half_a_grey_level(source, fill):
    images = (noise(6, 100) * 255).round() / 255
    result = augment(fitted(source, fill=fill), images)
    change = (result.images - images).abs().amax(1)
    assert torch.equal(change > 0, result.masks)
    assert change[result.masks].min() >= 0.5 / 255
    assert 0 <= result.images.min() <= result.images.max() <= 1
    assert result.kind.tolist() == [1 + SOURCES.index(source)] * 6


def test_pixels_that_change_by_less_are_put_back():
    images = 0.5 + noise(6, 64) * 2 / 255
    component = PatchGrid(fill="full", p_patch=1.0, p_colour=0.0, similarity=1.0)
    result = augment(component, images)
    change = (result.images - images).abs().amax(1)
    assert torch.equal(change > 0, result.masks)
    assert change[result.masks].min() >= 0.5 / 255
    assert 0.2 < result.masks.float().mean() < 0.9


@pytest.mark.parametrize("source", SOURCES)
def test_blobs_leave_parts_of_their_tile(source):
    images = noise(20, 64)
    blob = augment(fitted(source, p_patch=1.0), images).masks.float().mean()
    full = augment(fitted(source, p_patch=1.0, fill="full"), images).masks.float().mean()
    assert 0.3 < blob < 0.8
    assert full > 0.97


def test_some_images_stay_clean_when_asked():
    images = noise(300, 32)
    result = augment(fitted(p_image=0.5, p_patch=1.0, sizes=(16,)), images)
    clean = result.kind == 0
    assert_share(clean, 0.5)
    assert not result.masks[clean].any()
    assert torch.equal(result.images[clean], images[clean])
    assert result.masks[~clean].flatten(1).any(1).all()


@pytest.mark.parametrize("nothing", [{"p_image": 0.0}, {"p_patch": 0.0}])
@pytest.mark.parametrize("source", SOURCES)
def test_nothing_happens_with_probability_zero(source, nothing):
    images = noise(5, 50)
    result = augment(fitted(source, **nothing), images)
    assert torch.equal(result.images, images)
    assert not result.masks.any()
    assert not result.kind.any()


@pytest.mark.parametrize("source", SOURCES)
def test_all_draws_come_from_the_generator(source):
    images, component = noise(4, 64), fitted(source)
    torch.manual_seed(1)
    first = augment(component, images)
    torch.manual_seed(2)
    again = augment(fitted(source), images)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.masks, again.masks)
    assert not torch.equal(first.masks, augment(component, images, seed=1).masks)


@pytest.mark.gpu
@pytest.mark.parametrize("source", SOURCES)
def test_a_gpu_draws_the_same(source):
    images, component = noise(8, 100), fitted(source)
    here, there = augment(component, images), augment(component, images.cuda())
    assert there.masks.device.type == "cuda"
    assert (here.masks != there.masks.cpu()).float().mean() < 1e-3
    assert (here.images - there.images.cpu()).abs().mean() < 1e-3


# ---------------------------------------------------------------- warped tiles


def test_affine_maps_are_neither_flat_nor_far_off():
    maps = random_affine(20_000, torch.Generator().manual_seed(0))
    determinant = torch.linalg.det(maps[:, :, :2])
    # A triangle has at least 0.28 and at most 4 of what the corners of a parallelogram span.
    assert determinant.abs().min() >= 0.28 / 4
    assert determinant.abs().max() <= 4 / 0.28
    assert_share(determinant > 0, 0.5)
    # Three points of the tile come from within the tile, so that a blob is never empty.
    places = torch.rand(4000, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1
    homogeneous = torch.cat([places, torch.ones(4000, 1)], 1)
    reached = homogeneous @ maps[:200].transpose(1, 2)
    assert (reached.abs() <= 1).all(2).any(1).all()


@pytest.fixture
def fixed_warp(monkeypatch):
    def fix(warp):
        monkeypatch.setattr(augmenter, "random_affine", lambda count, _: warp.repeat(count, 1, 1))

    return fix


def test_an_identity_warp_of_a_tile_itself_is_taken_back(fixed_warp):
    fixed_warp(IDENTITY)
    result = augment(PatchGrid(sizes=(16,), p_patch=1.0, p_colour=1.0), noise(40, 64))
    # Half of the tiles draw themselves, as does one in 16 of the others.
    assert_share(touched(result.masks, 16), 0.5 * 15 / 16)


def test_warps_into_the_same_pattern_are_taken_back(fixed_warp):
    fixed_warp(IDENTITY)
    tile = noise(1, 16)
    wallpaper = tile.repeat(3, 1, 4, 4)
    for component in (PatchGrid(sizes=(16, 32)), PatchGrid(sizes=(16,), fill="full", p_colour=1)):
        assert not augment(component, wallpaper).masks.any()


def test_a_constant_image_has_no_anomaly():
    assert not augment(PatchGrid(), torch.full((4, 3, 64, 64), 0.4)).kind.any()


@pytest.mark.parametrize(("threshold", "share"), [(-1.0, 0.0), (0.75, 0.5), (1.0, 0.5)])
def test_the_threshold_decides_what_is_taken_back(threshold, share):
    result = augment(PatchGrid(sizes=(16,), similarity=threshold), noise(20, 64))
    assert_share(touched(result.masks, 16), share)


def test_a_warped_tile_is_another_tile_turned(fixed_warp):
    fixed_warp(torch.tensor([[0.0, -1, 0], [1, 0, 0]]))
    images = noise(3, 48)
    result = augment(PatchGrid(sizes=(16,), p_colour=0.0, p_patch=1.0), images)
    for before, after in zip(split(images, 16), split(result.images, 16), strict=True):
        turned = before.rot90(1, (2, 3)).flatten(1)
        distances = (after.flatten(1)[:, None] - turned).abs().mean(2)
        assert distances.amin(1).max() < 1e-3
        own = distances.argmin(1) == torch.arange(9)
        assert 0 < own.sum() < 9


def test_a_change_of_colour_is_a_power_of_each_channel(fixed_warp):
    fixed_warp(IDENTITY)
    images = 0.1 + 0.8 * noise(3, 48)
    result = augment(PatchGrid(sizes=(16,), p_colour=1.0, p_patch=1.0), images)
    for before, after in zip(split(images, 16), split(result.images, 16), strict=True):
        for tile in after[(after != before).flatten(1).any(1)]:
            powers = (tile.log() / before.log()).flatten(2)
            fits = powers.std(2).amax(1).argmin()
            assert powers.std(2)[fits].max() < 0.1  # but for pixels that are put back
            assert (powers.median(2).values[fits] - 1).abs().max() > 0.01


# ---------------------------------------------------------------- pasted textures


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_highest_takes_that_share_of_the_pixels_and_ties(seed, share):
    field = torch.randint(12, (1, 6, 7), generator=torch.Generator().manual_seed(seed)).float()
    taken = highest(field, torch.tensor([share]))[0].numpy()
    values = np.sort(field[0].numpy().ravel())[::-1]
    count = max(1, int(np.ceil(np.float32(share) * np.float32(values.size))))
    np.testing.assert_array_equal(taken, field[0].numpy() >= values[count - 1])


def test_perlin_blobs_cover_a_quarter_to_three_quarters_of_their_tile():
    component = fitted("perlin", sizes=(32,), p_patch=1.0)
    component.pool = SimpleNamespace(draw=lambda count, *_: (torch.ones(count, 3, 64, 64), None))
    masks = augment(component, torch.full((30, 3, 64, 64), 0.2)).masks
    shares = split(masks[:, None].float(), 32).flatten(2).mean(2)
    assert 0.25 <= shares.min() < 0.3
    assert 0.7 < shares.max() <= 0.76


def test_perlin_anomalies_show_the_image_through(monkeypatch):
    monkeypatch.setattr(augmenter, "jitter", lambda images, _: images)
    component = fitted("perlin", sizes=(16,), p_patch=1.0)
    component.pool = SimpleNamespace(draw=lambda count, *_: (torch.ones(count, 3, 64, 64), None))
    result = augment(component, torch.zeros(30, 3, 64, 64))
    opacity = result.images.amax(1)[result.masks]
    assert 0.2 <= opacity.min() < 0.25
    assert 0.95 < opacity.max() <= 1


def test_superpixel_anomalies_are_whole_superpixels_of_the_texture(monkeypatch):
    monkeypatch.setattr(augmenter, "jitter", lambda images, _: images)
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    fine, coarse = rows // 8 * 4 + columns // 8, 32 + rows // 16 * 2 + (columns - 32) // 16
    labels = torch.where(columns < 32, fine, coarse)
    texture = (1 + labels.float()).div(64).expand(1, 3, 64, 64)
    component = fitted("superpixel", sizes=(32,), p_patch=1.0)
    component.pool = SimpleNamespace(
        draw=lambda count, *_: (texture.repeat(count, 1, 1, 1), torch.zeros(count).long())
    )
    component.labels, component.segments = labels[None].short(), 64
    images = augment(component, torch.zeros(20, 3, 64, 64)).images
    areas, counts = labels.flatten().bincount(), set()
    for tile in split(images, 32)[:, :, 0].flatten(0, 1):
        found, pixels = (tile[tile > 0] * 64 - 1).round().long().unique(return_counts=True)
        assert torch.equal(pixels, areas[found])
        assert 256 <= pixels.sum() <= 768 + areas[found].max()
        counts.add(len(found))
    assert len(counts) > 3


# ---------------------------------------------------------------- the plugin


@pytest.mark.parametrize("asked", [{}, {"recipe": "patchgrid"}])
def test_it_runs_alone_on_the_network_of_the_authors_earlier_paper(asked):
    wanted = {"plugins": ["patchgrid"], "datasets": ["mini/brick"], **asked}
    for recipe in adbench_recipes():
        wanted |= recipe.suite if recipe.name in asked.values() else {}
    catalogue = plugins.load(["patchgrid"])
    trials = plan.make(suite.validate(wanted, "test"), catalogue, Locations()).trials
    assert {trial.augmenter.name for trial in trials} == {"patchgrid"}
    (stage,) = (trial.model for trial in trials if trial.model.name == "twostage-stage1")
    size = parameters.build(catalogue, "model", stage).input.size[0]
    assert size == 640 if asked else size < 640


def test_dtd_is_asked_for_only_where_it_is_used():
    assert PatchGrid(source="perlin", textures="dtd").auxiliary == ("dtd",)
    assert PatchGrid(textures="dtd").auxiliary == PatchGrid(source="perlin").auxiliary == ()


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"sizes": [8]}, "greater than or equal to 11"),
        ({"sizes": []}, "at least 1 item"),
        ({"p_patch": 1.5}, "less than or equal to 1"),
        ({"source": "dtd"}, "'self', 'perlin' or 'superpixel'"),
    ],
)
def test_bad_parameters_are_refused_in_words(params, reason):
    catalogue = plugins.load(["patchgrid"])
    wanted = Wanted("patchgrid", params)
    with pytest.raises(UserError, match=reason):
        parameters.build(catalogue, "augmenter", parameters.resolve(catalogue, "augmenter", wanted))
