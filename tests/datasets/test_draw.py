from __future__ import annotations

import hashlib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from adbench_harness.datasets import draw
from adbench_harness.types import Sample


@given(st.sets(st.text(max_size=8)), st.integers(-5, 2**40))
def test_names_come_in_the_order_of_a_hash_of_seed_and_name(names: set[str], seed: int) -> None:
    digests = {name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest() for name in names}
    assert draw.drawn(names, seed) == sorted(names, key=digests.__getitem__)


def test_the_draw_is_the_same_forever() -> None:
    """Every drawn split, and so every stored result of one, depends on it."""
    names = [f"kos{number:02}" for number in range(1, 7)]
    assert draw.drawn(names, 0) == ["kos06", "kos04", "kos05", "kos03", "kos01", "kos02"]
    assert draw.drawn(names, 7) == ["kos04", "kos06", "kos03", "kos05", "kos01", "kos02"]


def defects(root: Path, counts: dict[str, int], groups: int = 0) -> list[Sample]:
    """``counts`` images a defect type; ``groups`` > 0 puts that many in a group."""
    return [
        Sample(
            root / defect / f"{i}.png",
            "test",
            1,
            defect=defect,
            group=f"{defect}-{i // groups}" if groups else None,
        )
        for defect, count in counts.items()
        for i in range(count)
    ]


def normals(root: Path) -> list[Sample]:
    parts = ("train", "train", "validation", "test")
    return [Sample(root / f"n{i}.png", part, 0) for i, part in enumerate(parts)]


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(1, 20), min_size=1),
    st.integers(0, 4),
    st.integers(0, 5),
)
def test_classification_splits_every_defect_type_by_whole_groups(
    counts: dict[str, int], groups: int, seed: int
) -> None:
    root = Path("/data")
    given_ = normals(root) + defects(root, counts, groups)
    split = draw.classification(root, given_, seed)
    kept = {sample.image for sample in split}
    assert kept == {s.image for s in given_ if s.label or s.split != "test"}
    assert len(split) == len(kept)
    for sample in split:
        assert sample.split == "train" or sample.label or sample.split == "validation"
    for defect, count in counts.items():
        members = [s for s in split if s.defect == defect]
        units = {s.group or s.image.name: s.split for s in members}
        assert all(units[s.group or s.image.name] == s.split for s in members)
        assert sum(part == "train" for part in units.values()) == round(2 / 3 * len(units))
        assert len(members) == count


@given(st.lists(st.tuples(st.integers(0, 8), st.sampled_from("ab")), min_size=1, max_size=40))
def test_a_group_with_several_defect_types_stays_whole(pairs: list[tuple[int, str]]) -> None:
    root = Path("/data")
    samples = [
        Sample(root / f"{i}.png", "test", 1, defect=defect, group=str(group))
        for i, (group, defect) in enumerate(pairs)
    ]
    parts: dict[str | None, set[str]] = {}
    for sample in draw.classification(root, samples, 0):
        parts.setdefault(sample.group, set()).add(sample.split)
    assert all(len(part) == 1 for part in parts.values())


def test_the_drawn_split_depends_on_the_seed_and_not_on_the_folder() -> None:
    def split_of(root: str, seed: int) -> list[tuple[str, str]]:
        samples = defects(Path(root), {"a": 12, "b": 9})
        split = draw.classification(Path(root), samples, seed)
        return [(s.image.relative_to(root).as_posix(), s.split) for s in split]

    assert split_of("/here", 0) == split_of("/there/deeper", 0)
    assert split_of("/here", 0) != split_of("/here", 1)
