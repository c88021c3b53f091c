from __future__ import annotations

import pytest
import torch

from adbench_harness.errors import UserError
from adbench_harness.nn.grids import grids
from adbench_harness.testing import fitting

LAYERS = {"fine": torch.rand(2, 3, 8, 6), "coarse": torch.rand(2, 5, 4, 3), "pooled": torch.rand(2)}


def test_layers_come_in_the_order_in_which_they_are_named():
    batch = fitting.batch(fitting.textures(2, 16))
    found = grids(lambda _: LAYERS, batch, ("coarse", "fine"))
    assert [id(grid) for grid in found] == [id(LAYERS["coarse"]), id(LAYERS["fine"])]


def test_a_vector_is_refused():
    batch = fitting.batch(fitting.textures(2, 16))
    with pytest.raises(UserError, match=r"layer 'pooled' is one vector.*name a layer before it"):
        grids(lambda _: LAYERS, batch, ("fine", "pooled"))
