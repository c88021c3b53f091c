from __future__ import annotations

import pytest
import torch

from adbench_harness.nn.levels import located, overlay
from adbench_harness.types import Level


@pytest.fixture
def values():
    return torch.rand(2, 4, 6, generator=torch.Generator().manual_seed(0)) - 3


def test_a_level_of_the_inputs_size_is_itself(values):
    torch.testing.assert_close(overlay([Level(values)], (4, 6)), values)


def test_a_constant_stays_constant_at_any_size():
    level = Level(torch.full((1, 3, 5), -2.0))
    torch.testing.assert_close(overlay([level], (17, 23)), torch.full((1, 17, 23), -2.0))


@pytest.mark.parametrize("combine", ["mean", "max"])
def test_tiles_fill_the_input(values, combine):
    left, right = Level(values, box=(0, 0, 4, 6)), Level(values + 10, box=(0, 6, 4, 12))
    merged = overlay([left, right], (4, 12), combine)
    torch.testing.assert_close(merged, torch.cat([values, values + 10], 2))


@pytest.mark.parametrize(("combine", "middle"), [("mean", 2.0), ("max", 3.0)])
def test_overlapping_tiles_are_combined_where_they_overlap(combine, middle):
    left = Level(torch.full((1, 2, 2), 1.0), box=(0, 0, 2, 4))
    right = Level(torch.full((1, 2, 2), 3.0), box=(0, 2, 2, 6))
    row = torch.tensor([1.0, 1, middle, middle, 3, 3])
    torch.testing.assert_close(overlay([left, right], (2, 6), combine), row.expand(1, 2, 6))


@pytest.mark.parametrize("combine", ["mean", "max"])
def test_what_no_level_covers_gets_the_images_minimum(values, combine):
    merged = overlay([Level(values, box=(1, 2, 5, 8))], (8, 10), combine)
    torch.testing.assert_close(merged[:, 1:5, 2:8], values)
    merged[:, 1:5, 2:8] = torch.nan
    outside = merged.flatten(1).nan_to_num(0)
    lowest = values.amin((1, 2))
    torch.testing.assert_close(outside.amin(1), lowest)
    assert ((outside == 0) | (outside == lowest[:, None])).all()


@pytest.mark.parametrize("value", [1e6, float("nan"), float("-inf")])
def test_invalid_cells_do_not_reach_their_neighbours(value):
    level = torch.ones(1, 4, 4)
    level[0, 1, 1] = value
    valid = torch.ones(4, 4, dtype=torch.bool)
    valid[1, 1] = False
    merged = overlay([Level(level, valid=valid)], (16, 16))
    torch.testing.assert_close(merged, torch.ones(1, 16, 16))


def test_another_level_answers_for_invalid_cells(values):
    valid = torch.zeros(4, 6, dtype=torch.bool)
    valid[:, :3] = True
    merged = overlay([Level(values, valid=valid), Level(values + 2)], (4, 6))
    torch.testing.assert_close(merged[:, :, :3], values[:, :, :3] + 1)
    torch.testing.assert_close(merged[:, :, 3:], values[:, :, 3:] + 2)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([(1, 1)], False), ([(1, 1), (1, 1)], False), ([(1, 1), (1, 2)], True), ([(3, 1)], True)],
)
def test_levels_of_one_cell_have_no_places(sizes, expected):
    assert located([Level(torch.zeros(2, *size)) for size in sizes]) is expected
    assert located([Level(torch.zeros(2, *size, 5)) for size in sizes]) is expected
