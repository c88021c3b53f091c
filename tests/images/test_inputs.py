from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adbench_harness.errors import ContractError
from adbench_harness.images import decoding, geometry
from adbench_harness.images.inputs import Images, Inputs, checked, prepare
from adbench_harness.types import InputSpec, Sample
from toys import HEIGHT, WIDTH, ToyData, ToyPreprocessor


@pytest.fixture
def toy_root(tmp_path: Path) -> Path:
    return ToyData().build(tmp_path / "toy")


def dark(root: Path) -> list[Sample]:
    return list(ToyData().samples(root, "dark", 0))


def test_prepare_makes_every_input_of_every_sample(toy_root: Path) -> None:
    samples = dark(toy_root)
    specs = [InputSpec(32, None), InputSpec(40, 32)]
    step = ToyPreprocessor(factor=0.5)
    [made, plain], places = prepare(samples, [step, lambda image: image], specs)
    assert list(places) == list(range(12))
    for spec in specs:
        assert made[spec].sizes.tolist() == [[HEIGHT, WIDTH]] * 12
        assert (made[spec].seconds > 0).all()
        for place, sample in enumerate(samples):
            expected = geometry.to_input(step(decoding.decode(sample.image)), spec)
            assert torch.equal(made[spec].pixels[place], expected)
            unchanged = geometry.to_input(decoding.decode(sample.image), spec)
            assert torch.equal(plain[spec].pixels[place], unchanged)


@pytest.mark.parametrize(
    "broken",
    [
        lambda image: image[:-1],
        lambda image: image.astype(np.float32),
        lambda image: image[..., 0],
        lambda image: None,
    ],
)
def test_a_preprocessor_that_breaks_its_promise(broken: Any) -> None:
    with pytest.raises(ContractError, match=r"a preprocessor made .* of a uint8 \(8, 9, 3\) image"):
        checked(broken, np.zeros((8, 9, 3), np.uint8))


def images(count: int = 7, **keywords: Any) -> Images:
    inputs = Inputs(
        samples=(),
        pixels=torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4),
        sizes=np.full((count, 2), 4, np.int32),
        seconds=np.zeros(count),
    )
    seeds = np.arange(count, dtype=np.int64) * 11
    return Images(inputs, [5, 1, 3, 0], seeds, torch.device("cpu"), **keywords)


def test_batches_hold_the_images_with_their_own_seeds() -> None:
    walked = images()
    assert len(walked) == 4
    batches = list(walked.batches(3))
    assert [walked.indices(batch) for batch in batches] == [[5, 1, 3], [0]]
    assert [batch.handles for batch in walked.batches(3)] == [batch.handles for batch in batches]
    assert [batch.seeds.tolist() for batch in batches] == [[55, 11, 33], [0]]
    first = batches[0].images
    assert first.dtype == torch.float32
    assert torch.allclose(first[:, 0, 0, 0] * 255, torch.tensor([5.0, 1.0, 3.0]))
    assert [len(batch) for batch in walked.batches()] == [4]
    assert batches[0].classes is None
    assert next(images(handles=False).batches()).handles is None
    classes = next(images(classes={5: 1, 1: 0, 3: 2, 0: 0}).batches()).classes
    assert classes is not None
    assert classes.tolist() == [1, 0, 2, 0]


def test_shuffling_draws_from_the_generator_alone() -> None:
    def orders(seed: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(seed)
        return [b.seeds.tolist() for _ in range(3) for b in images().batches(4, generator)]

    assert orders(0) == orders(0)
    assert len(set(map(tuple, orders(0)))) > 1
    assert all(sorted(order) == [0, 11, 33, 55] for order in orders(1))


def test_handles_do_not_tell_the_order() -> None:
    handles = [next(images().batches(4)).handles for _ in range(20)]
    assert len(set(handles)) > 1


def test_batches_can_be_written_into_without_harm() -> None:
    walked = images()
    next(walked.batches()).images.zero_()
    assert next(walked.batches()).images.max() > 0
