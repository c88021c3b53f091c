from __future__ import annotations

import pytest

from adbench_harness.wording import counted, duration, fold, longest, wrapped


def test_one_trial_has_no_plural() -> None:
    assert [counted(n, "trial") for n in (0, 1, 2)] == ["0 trials", "1 trial", "2 trials"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (119, "119 s"), (150, "2 min"), (7100, "118 min"), (9000, "2.5 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("patchcore · nn", 20, ["patchcore · nn"]),
        ("patchcore · nn-reweighted", 20, ["patchcore ·", "nn-reweighted"]),
        ("patchcore(a=1,b=[2,3])", 14, ["patchcore(a=1,", "b=[2,3])"]),
        ("patchcore(coreset_ratio=0.1)", 18, ["patchcore(", "coreset_ratio=0.1)"]),
        ("/home/.cache/adbench/data", 14, ["/home/.cache/", "adbench/data"]),
        ("see https://a.org/b/c", 14, ["see ", "https://a.org/", "b/c"]),
        ("int | tuple[int, int] | None", 16, ["int |", "tuple[int, int]", "| None"]),
        ("bits of a value (none: all)", 18, ["bits of a value", "(none: all)"]),
        ("abcdefgh", 5, ["abcde", "fgh"]),
    ],
)
def test_lines_end_where_a_reader_expects_it(text: str, width: int, lines: list[str]) -> None:
    found = fold(text, width)
    assert found == [line.rstrip() for line in lines]
    assert max(map(len, found)) <= width
    if longest(text) <= width:
        assert "".join(found).replace(" ", "") == text.replace(" ", "")


def test_the_longest_part_is_the_least_width() -> None:
    assert longest("patchcore(coreset_ratio=0.1) · nn") == len("coreset_ratio=0.1) ·")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("no masks", ["no masks"]),
        ("nn-reweighted is not nn", ["nn-reweighted is", "  not nn"]),
        ("patchcore nn · knn · a", ["patchcore nn ·", "  knn · a"]),
        ("  one two three four", ["  one two three", "  four"]),
        ("a folder /home/me/a/long/path it is", ["a folder", "  /home/me/a/long/path", "  it is"]),
        ("a (b c, d ef, g h)", ["a (b c, d ef,", "  g h)"]),
        ("a (b cd efg hi jk)", ["a (b cd efg hi", "  jk)"]),
        ("of padim(dimensions=64,size=3)", ["of", "  padim(", "  dimensions=64,", "  size=3)"]),
    ],
)
def test_a_sentence_is_wrapped_between_words(text: str, lines: list[str]) -> None:
    assert wrapped(text, 16, "  ").split("\n") == lines
