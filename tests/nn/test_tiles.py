from __future__ import annotations

import pytest
import torch

from adbench_harness.nn.tiles import by_tiles, random_crops


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def places(height, width):
    """An image whose pixels say where they are, [2, H, W]."""
    return torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))


def test_random_crops_are_whole_pieces_at_places_of_their_own():
    images = places(9, 12).float().expand(200, -1, -1, -1)
    crops = random_crops(images, (4, 5), draws())
    starts = crops[:, :, 0, 0]
    assert torch.equal(crops, starts[:, :, None, None] + places(4, 5))
    assert {tuple(start) for start in starts.tolist()} == {
        (y, x) for y in range(6) for x in range(8)
    }


def test_a_crop_of_the_whole_image_is_the_image():
    images = torch.rand(3, 3, 6, 8, generator=draws())
    assert torch.equal(random_crops(images, (6, 8), draws()), images)


def test_a_crop_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"no piece of \[7, 3\] px fits into \[6, 8\] px"):
        random_crops(torch.rand(1, 3, 6, 8), (7, 3), draws())


@pytest.mark.parametrize("stride", [1, 3, 4])
def test_tiles_cover_the_image_once_if_nothing_overlaps_and_are_averaged_if_not(stride):
    images = torch.rand(2, 3, 11, 8, generator=draws())
    seen = []

    def doubled(tiles):
        seen.append(tiles.shape)
        return 2 * tiles

    torch.testing.assert_close(by_tiles(doubled, images, (4, 5), stride), 2 * images)
    assert set(seen) == {(2, 3, 4, 5)}
    assert len(seen) == {1: 32, 3: 8, 4: 6}[stride]


def test_an_overlap_is_the_mean_of_its_tiles():
    values = iter([1.0, 3.0])
    images = torch.zeros(1, 1, 4, 6)
    found = by_tiles(lambda tiles: torch.full_like(tiles, next(values)), images, (4, 4), 2)
    assert torch.equal(found[0, 0], torch.tensor([1.0, 1, 2, 2, 3, 3]).expand(4, -1))


def test_a_tile_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="a tile of 7 px does not fit into 6 px"):
        by_tiles(lambda tiles: tiles, torch.rand(1, 3, 6, 8), (7, 3), 1)


def test_tiles_that_leave_gaps_are_refused():
    with pytest.raises(ValueError, match="tiles of 4 px that are 5 px apart leave gaps"):
        by_tiles(lambda tiles: tiles, torch.rand(1, 3, 16, 16), (6, 4), 5)
