from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adbench_harness.errors import UserError
from adbench_harness.planning.samples import listed
from adbench_harness.types import Sample
from toys import ToyData


@pytest.fixture
def toy_root(tmp_path: Path) -> Path:
    return ToyData().build(tmp_path / "toy")


def test_a_split_with_nothing_to_test_is_refused(
    catalogue: Any, toy_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def split(protocol: str) -> list[Sample]:
        return listed(ToyData(), toy_root, "dark", protocol, 0)

    assert {s.split for s in split("classification")} == {"train", "test"}
    assert not any(s.label for s in split("unsupervised") if s.split == "train")
    toys = ToyData
    original = toys.samples

    def altered(change: Callable[[Sample], Sample]) -> None:
        monkeypatch.setattr(toys, "samples", lambda *given: [change(s) for s in original(*given)])

    altered(lambda s: replace(s, group="one"))
    with pytest.raises(UserError, match=r"group 'one' is in t(est and in train|rain and in test)"):
        split("unsupervised")
    altered(lambda s: replace(s, image=toy_root / "same.png"))
    with pytest.raises(UserError, match=r"same.png' is in "):
        split("unsupervised")
    altered(lambda s: replace(s, split="test"))
    with pytest.raises(UserError, match=f"category 'dark': no train image under '{toy_root}'"):
        split("unsupervised")
