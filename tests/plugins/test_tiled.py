from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch

from adbench_harness.errors import UserError
from adbench_harness.planning import grammar, parameters, plugins
from adbench_harness.testing import fitting
from adbench_harness.types import (
    AnomalyMap,
    InputSpec,
    Level,
    Model,
    Outputs,
    Scorer,
    Scores,
)
from adbench_tiled.model import Tiled
from adbench_tiled.tiles import TrainTiles

TILE = 16


class Colours(Model):
    """A map of each pixel's distance to the mean colour of the training images."""

    name: ClassVar[str] = "colours"
    version: ClassVar[int] = 1
    emits = frozenset({AnomalyMap})
    input = InputSpec(TILE, None, "squash")

    def fit(self, train, tools):
        self.batches = list(train.batches())
        self.mean = torch.cat([b.images for b in self.batches]).mean((0, 2, 3))
        return self

    def predict(self, batch):
        apart = (batch.images - self.mean[:, None, None]).abs().mean(1)
        return Outputs((TILE, TILE), AnomalyMap((Level(apart),)))


class Plain(Scorer):
    """The map as it is."""

    name: ClassVar[str] = "plain"
    version: ClassVar[int] = 1
    accepts = frozenset({AnomalyMap})

    def fit(self, outputs, generator):
        self.seen = sum(len(o[AnomalyMap].levels[0].values) for o in outputs)

    def score(self, outputs):
        return Scores(map=outputs[AnomalyMap].levels[0].values)


def tiled(**params: Any) -> Tiled:
    given: Mapping[str, Any] = {"detector": Colours(), "scorer": Plain(), "size": 40} | params
    return Tiled(**given)


def fitted(**params: Any) -> Tiled:
    model = tiled(**params)
    size = model.input.size
    return model.fit(fitting.train(fitting.textures(5, size)), fitting.tools(None, size))


@pytest.mark.parametrize("overlap", [0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("size", [40, (33, 57), TILE])
def test_maps_of_pixels_are_those_of_the_whole_image(overlap, size):
    """A model that looks at single pixels sees the same in any tile."""
    model = fitted(overlap=overlap, size=size)
    images = fitting.textures(3, model.input.size, 7, blob=True)
    found = model.predict(fitting.batch(images))
    expected = (images - model.detector.mean[:, None, None]).abs().mean(1)
    assert found.input_size == model.input.size
    torch.testing.assert_close(found[AnomalyMap].levels[0].values, expected)


def test_where_tiles_overlap_the_map_is_their_mean():
    model = fitted(size=24, overlap=0.5)
    model.detector.predict = lambda batch: Outputs(
        (TILE, TILE),
        AnomalyMap((Level(torch.full((len(batch), TILE, TILE), float(next(numbers)))),)),
    )
    numbers = iter((1, 2, 3, 4))
    (values,) = model.predict(fitting.batch(fitting.textures(1, 24)))[AnomalyMap].levels[0].values
    assert values[0, 0] == 1
    assert values[0, -1] == 2
    assert values[-1, 0] == 3
    assert values[12, 0] == 2  # of the first and third
    assert values[12, 12] == 2.5


def test_the_detector_learns_from_so_many_tiles_of_each_image():
    model = fitted(train_tiles=3)
    shapes = [tuple(batch.images.shape[1:]) for batch in model.detector.batches]
    assert set(shapes) == {(3, TILE, TILE)}
    assert sum(len(batch) for batch in model.detector.batches) == 5 * 3
    assert model.scorer.seen == 5 * 3
    assert all(batch.handles is None for batch in model.detector.batches)


def test_tiles_are_the_same_each_time_and_each_is_in_its_image():
    images = fitting.textures(7, 40)
    tiles = TrainTiles(fitting.train(images), (TILE, TILE), 5)
    first = torch.cat([batch.images for batch in tiles.batches(8)])
    assert [len(batch) for batch in tiles.batches(8)] == [8, 8, 8, 8, 3]
    assert torch.equal(first, torch.cat([batch.images for batch in tiles.batches(3)]))
    windows = images.unfold(2, TILE, 1).unfold(3, TILE, 1)
    for i in range(7):
        every = windows[i].permute(1, 2, 0, 3, 4).flatten(0, 1)
        for tile in first[5 * i : 5 * i + 5]:
            assert (every - tile).abs().flatten(1).amax(1).min() < 0.01  # 8 bits
    shuffled = list(tiles.batches(8, torch.Generator().manual_seed(0)))
    assert sum(len(batch) for batch in shuffled) == 35
    seeds = torch.cat([batch.seeds for batch in shuffled])
    assert len(set(seeds.tolist())) == 35
    assert seeds.min() >= 0
    assert sorted(seeds.tolist()) != seeds.tolist()


def test_small_defects_of_large_images_are_found():
    """A spot of 2 px in an image of 128 px vanishes at 16 px, and does not in tiles."""
    normal = fitting.textures(5, 128)
    images = fitting.textures(4, 128, 9)
    images[2:, :, 50:53, 70:73] += 0.4
    whole = Colours()
    small = torch.nn.functional.interpolate(normal, TILE, mode="area")
    whole.fit(fitting.train(small), fitting.tools(None, TILE))
    seen = torch.nn.functional.interpolate(images, TILE, mode="area")
    at_once = whole.predict(fitting.batch(seen))[AnomalyMap].levels[0].values.flatten(1).amax(1)
    model = tiled(size=128).fit(fitting.train(normal), fitting.tools(None, 128))
    in_tiles = model.predict(fitting.batch(images))[AnomalyMap].levels[0].values.flatten(1).amax(1)
    assert in_tiles[2:].min() - in_tiles[:2].max() > 0.1
    assert at_once[2:].min() - at_once[:2].max() < 0.1


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("tiled:size=100", "tiles of 224 x 224 px, .* do not fit into 100 x 100 px"),
        ("tiled:detector=twostage", "trains on pseudo-anomalies"),
        ("tiled:detector=padim:scorer=nn-reweighted", "does not fit detector 'padim'"),
        ("tiled:scorer=softmax", "does not fit detector 'patchcore'"),
    ],
)
def test_what_cannot_be_tiled_is_refused(written, reason):
    catalogue = plugins.load(["tiled", "padim", "twostage", "patchcore"])
    with pytest.raises(UserError, match=reason):
        parameters.build(
            catalogue,
            "model",
            parameters.resolve(catalogue, "model", grammar.component(written)),
        )
