from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from adbench_harness.basic.backbones import BACKBONES, Embedded
from adbench_harness.downloads import weights
from adbench_harness.errors import UserError
from adbench_harness.results.trial import Weights
from adbench_harness.types import WeightFile

EFFICIENTNET = next(backbone for backbone in BACKBONES if backbone.name == "efficientnet_b4")()


class Tiny:
    name: ClassVar[str] = "tiny"
    version: ClassVar[int] = 3
    layers: ClassVar[tuple[str, ...]] = ("layer1", "layer2")
    weights: ClassVar[WeightFile | None] = WeightFile("https://x", "tiny_a-0123.pth", "0123", "CC0")


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch/hub/checkpoints"


def found(place: Path | str | None, backbone: Any = None) -> Weights | None:
    return weights.find(backbone or Tiny(), None if place is None else str(place))


def put(path: Path, content: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_backbone_without_weights_needs_no_file() -> None:
    assert found(None, Embedded()) == Weights("embedded", Embedded.version)


def test_weights_that_are_nowhere(tmp_path: Path) -> None:
    assert found(None) is None
    assert found(tmp_path) is None
    with pytest.raises(UserError, match=r"weights '.*/nowhere' not found; correct --weights or"):
        found(tmp_path / "nowhere")


def test_search_order(tmp_path: Path, hub: Path) -> None:
    cached = put(hub / "tiny_a-0123.pth", b"cached")
    assert found(None).path == str(cached)  # type: ignore[union-attr]
    folder = tmp_path / "folder"
    other = put(folder / "tiny-mine.safetensors", b"mine")
    assert found(folder).path == str(other)  # type: ignore[union-attr]
    published = put(folder / "tiny_a-0123.pth", b"published")
    assert found(folder).path == str(published)  # type: ignore[union-attr]
    assert found(other).path == str(other)  # type: ignore[union-attr]


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed distribution that contains weights; importing it raises an error."""
    site = tmp_path / "site"
    file = put(site / "tiny_weights" / "models" / "tiny_a-0123.pth", b"installed")
    put(site / "tiny_weights" / "__init__.py", b"raise ImportError")
    information = site / "tiny_weights-1.0.dist-info"
    put(information / "METADATA", b"Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
    put(information / "RECORD", b"tiny_weights/models/tiny_a-0123.pth,,\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(Tiny, "weights", replace(Tiny.weights, distribution="tiny-weights"))
    return file


def test_a_distribution_is_searched_last_and_not_imported(
    tmp_path: Path, hub: Path, distribution: Path
) -> None:
    assert found(None).path == str(distribution)  # type: ignore[union-attr]
    assert found(None).sha256 == hashlib.sha256(b"installed").hexdigest()  # type: ignore[union-attr]
    assert Tiny.weights is not None
    own = weights.find_file(Tiny.weights, 1, None)
    assert own is not None
    assert own.path == str(distribution)
    cached = put(hub / "tiny_a-0123.pth", b"cached")
    assert found(None).path == str(cached)  # type: ignore[union-attr]
    cached.unlink()
    distribution.unlink()
    assert found(None) is None, "a file that is listed but not there"


def test_a_distribution_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = replace(Tiny.weights, distribution="no-such-distribution")  # type: ignore[type-var]
    monkeypatch.setattr(Tiny, "weights", absent)
    assert found(None) is None


@pytest.mark.parametrize("name", ["tinier-1.pth", "tiny-1.txt", "tiny.pth", "resnet18-1.pth"])
def test_files_of_other_networks_are_passed_over(tmp_path: Path, hub: Path, name: str) -> None:
    other = put(tmp_path / "folder" / name)
    assert found(other.parent) is None
    assert found(other) is None
    cached = put(hub / "tiny_a-0123.pth")
    assert found(other.parent).path == str(cached)  # type: ignore[union-attr]
    assert found(other).path == str(cached)  # type: ignore[union-attr]


def test_a_published_file_is_known_by_its_whole_name(tmp_path: Path) -> None:
    # torchvision's file names do not always begin with the network's name and a dash.
    file = put(tmp_path / EFFICIENTNET.weights.filename)
    assert found(file, EFFICIENTNET).path == str(file)  # type: ignore[union-attr]
    assert found(tmp_path, EFFICIENTNET).path == str(file)  # type: ignore[union-attr]


def test_the_checksum_is_recorded_and_compared(tmp_path: Path) -> None:
    content = next(
        text
        for text in (str(i).encode() for i in range(1_000_000))
        if hashlib.sha256(text).hexdigest().startswith("0123")
    )
    file = put(tmp_path / "tiny-x.pth", content)
    good = found(file)
    assert good == Weights("tiny", 3, str(file), hashlib.sha256(content).hexdigest(), True)
    put(file, b"something else entirely")
    changed = found(file)
    assert changed is not None
    assert not changed.verified
    assert changed.sha256 == hashlib.sha256(b"something else entirely").hexdigest()


@pytest.mark.parametrize("name", ["model_best.pth", "checkpoint", "weights.bin", "tiny.pth"])
def test_a_file_given_by_path_is_taken_whatever_its_name(tmp_path: Path, name: str) -> None:
    file = put(tmp_path / name)
    taken = weights.find(Tiny(), str(file), [Tiny(), EFFICIENTNET])  # type: ignore[arg-type]
    assert taken is not None
    assert (taken.path, taken.verified) == (str(file), False)
    assert weights.find(Tiny(), str(tmp_path), [Tiny()]) is None  # type: ignore[arg-type]


def test_a_file_given_by_path_that_is_another_backbones_is_not_taken(tmp_path: Path) -> None:
    for name in ("efficientnet_b4-mine.pth", EFFICIENTNET.weights.filename):
        file = put(tmp_path / name)
        assert weights.find(Tiny(), str(file), [Tiny(), EFFICIENTNET]) is None  # type: ignore[arg-type]


class TestAFileOfAModelsOwn:
    """It is found as a backbone's is, and its content is what the model makes of it."""

    def own(self, place: Path, others: Any = None) -> str | None:
        taken = weights.find_file(Tiny.weights, 1, str(place), others)  # type: ignore[arg-type]
        return taken and taken.path

    def test_by_its_path_whatever_its_name(self, tmp_path: Path) -> None:
        file = put(tmp_path / "teacher-mine.pth", b"mine")
        put(tmp_path / "tiny_a-0123.pth", b"published")
        assert self.own(file, [EFFICIENTNET]) == str(file)
        assert self.own(tmp_path, [EFFICIENTNET]) == str(tmp_path / "tiny_a-0123.pth")

    def test_not_if_it_is_a_backbones(self, tmp_path: Path) -> None:
        file = put(tmp_path / "efficientnet_b4-mine.pth")
        assert self.own(file, [EFFICIENTNET]) is None

    def test_by_its_content_where_another_file_might_be_meant(self, tmp_path: Path) -> None:
        content = next(
            text
            for text in (str(i).encode() for i in range(1_000_000))
            if hashlib.sha256(text).hexdigest().startswith("0123")
        )
        assert self.own(put(tmp_path / "a.pth", content)) == str(tmp_path / "a.pth")
        assert self.own(put(tmp_path / "b.pth", b"another one")) is None

    def test_a_path_that_is_wrong(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="none' not found; correct --weights"):
            self.own(tmp_path / "none")
