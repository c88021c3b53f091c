from __future__ import annotations

from typing import Any

import pytest
import torch

from adbench_harness.types import (
    Archive,
    Batch,
    ImageScore,
    InputSpec,
    Model,
    Outputs,
    Scorer,
    overrides,
    written,
)


@pytest.mark.parametrize(
    ("spec", "size"),
    [
        (InputSpec(), (224, 224)),
        (InputSpec(64, None), (64, 64)),
        (InputSpec(64, (32, 48)), (32, 48)),
        (InputSpec((64, 96), None), (64, 96)),
        (InputSpec((64, 96), 64), (64, 64)),
        (InputSpec((64, 96), (64, 96)), (64, 96)),
    ],
)
def test_the_size_of_an_input(spec: InputSpec, size: tuple[int, int]) -> None:
    assert spec.size == size


@pytest.mark.parametrize(
    ("resize", "crop", "said"),
    [
        (64, 65, "65 px does not fit into 64 px"),
        ((64, 96), 80, "80 px does not fit into 64x96 px"),
        (64, (32, 65), "32x65 px does not fit into 64 px"),
        (64, 0, "0 px does not fit into 64 px"),
        ((0, 64), None, "0x64 px does not fit into 0x64 px"),
    ],
)
def test_a_crop_that_does_not_fit_is_refused(resize: Any, crop: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"^a crop of {said}; make it smaller, or leave"):
        InputSpec(resize, crop)


def test_a_size_is_written_as_a_suite_has_it() -> None:
    assert [written(size) for size in (256, (256, 256), (256, 320))] == [256, 256, "256x320"]


@pytest.mark.parametrize(
    ("archive", "name"),
    [
        (Archive("https://example.org/a/b.zip"), "b.zip"),
        (Archive("https://example.org/download?id=3", file="c.tar"), "c.tar"),
        (Archive(None, file="d.zip"), "d.zip"),
    ],
)
def test_the_name_of_an_archive(archive: Archive, name: str) -> None:
    assert archive.name == name


def test_a_batch_is_as_long_as_its_images() -> None:
    assert len(Batch(torch.zeros(3, 3, 8, 8), torch.arange(3))) == 3


def test_outputs_are_read_by_the_type_of_the_port() -> None:
    score = ImageScore(torch.ones(2))
    outputs = Outputs((8, 8), score)
    assert outputs[ImageScore] is score
    assert outputs.ports == {ImageScore: score}
    with pytest.raises(KeyError):
        outputs[int]


def test_what_an_author_defined_is_told_from_the_default() -> None:
    class Mine(Scorer):
        def score(self, outputs: Any) -> Any: ...

    class Learns(Mine):
        def fit(self, outputs: Any, generator: Any) -> None: ...

    class Net(torch.nn.Module, Model):
        def fit(self, train: Any, tools: Any) -> None: ...

        def predict(self, batch: Any) -> Any: ...

        def learned(self) -> Any: ...

    assert not overrides(Mine(), "fit")
    assert overrides(Learns(), "fit")
    assert overrides(Net(), "learned")
    assert not overrides(Net(), "rebuild")
