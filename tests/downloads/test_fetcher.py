from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from adbench_harness.downloads.fetcher import Fetcher
from adbench_harness.errors import UserError
from adbench_harness.listener import Listener
from adbench_harness.types import WeightFile


class Recorder(Listener):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)

    @contextmanager
    def transfer(self, title: str) -> Iterator[Callable[[int, int | None], None]]:
        self.told.append(f"{title} begins")
        yield lambda done, total: self.told.append(f"{done} of {total}")
        self.told.append(f"{title} ends")


@pytest.fixture
def backbone(tmp_path: Path) -> SimpleNamespace:
    """Six bytes of weights, published in a folder of this machine."""
    published = tmp_path / "published"
    published.write_bytes(b"weight")
    digest = hashlib.sha256(b"weight").hexdigest()
    file = WeightFile(published.as_uri(), "mine.pth", digest, "CC0")
    return SimpleNamespace(name="mine", weights=file)


def test_a_listener_hears_the_license_the_transfer_and_the_file(
    backbone: SimpleNamespace, tmp_path: Path
) -> None:
    recorder = Recorder()
    fetcher = Fetcher(accepted=True, listener=recorder)
    target = tmp_path / "here" / "mine.pth"
    assert fetcher.weights([backbone], tmp_path / "here") == [target]
    assert target.read_bytes() == b"weight"
    first, begins, *steps, ends, last = recorder.told
    assert (first, begins) == ("mine: license CC0", "mine.pth begins")
    assert steps[-1].startswith("6 of ")
    assert (ends, last) == ("mine.pth ends", f"mine: {target}")

    recorder.told.clear()
    fetcher.weights([backbone], tmp_path / "here")
    assert recorder.told == ["mine.pth begins", "mine.pth ends", f"mine: {target}"]


def test_nothing_is_downloaded_or_told_before_the_license_is_accepted(
    backbone: SimpleNamespace, tmp_path: Path
) -> None:
    recorder = Recorder()
    fetcher = Fetcher(accepted=False, listener=recorder)
    with pytest.raises(
        UserError, match="mine: license CC0; read the license, then add --accept-license"
    ):
        fetcher.weights([backbone], tmp_path / "here")
    assert recorder.told == []
    assert not (tmp_path / "here").exists()


def test_nothing_is_printed(
    backbone: SimpleNamespace, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Fetcher(accepted=True, listener=Listener()).weights([backbone], tmp_path)
    assert (tmp_path / "mine.pth").exists()
    assert capfd.readouterr() == ("", "")
