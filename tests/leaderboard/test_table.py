"""How each format writes a table; ``test_formats.py`` has whole boards."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adbench_harness.leaderboard.table import Table, escaped

TABLE = Table(
    headers=["method", "image AUROC ↑", "FLOPs ↓"],
    rows=[["a | b", "98.1", "1.0 M"], ["<c>", "97.0", "2.0 M"]],
    labels=1,
    best=frozenset({(0, 1), (0, 2)}),
    sections=frozenset({1}),
    caption="two rows",
    notes=["a *note*"],
)


def test_a_terminal_without_color_marks_the_best_with_a_star() -> None:
    text = TABLE.terminal(80, color=False)
    assert "*98.1" in text
    assert "two rows · * best" in text
    lines = text.splitlines()
    second = next(i for i, line in enumerate(lines) if line.startswith("<c>"))
    assert lines[second - 1] == "", "a blank line before a section"


def test_a_terminal_with_color_marks_the_best_in_bold() -> None:
    text = TABLE.terminal(80, color=True)
    assert "\x1b[1m" in text
    assert "*" not in text.replace("*note*", "")


def test_numbers_that_do_not_fit_follow_below() -> None:
    blocks = TABLE.terminal(22, color=False).split("\n\n")
    assert max(len(line) for block in blocks for line in block.splitlines()) <= 22
    assert sum("a | b" in block for block in blocks) == 2, "the labels stand beside each block"


def test_markdown_escapes_what_would_be_markup() -> None:
    text = TABLE.markdown()
    assert r"| a \| b" in text
    assert "**98.1**" in text
    assert "&lt;c&gt;" in text
    assert r"- a \*note\*" in text


def test_html_is_ascii() -> None:
    text = TABLE.html()
    assert text.isascii()
    assert "<b>98.1</b>" in text
    assert "&lt;c&gt;" in text


def test_latex_is_a_table_below_its_remarks() -> None:
    text = replace(TABLE, remarks=["a remark"], tied=frozenset({(1, 1)})).latex()
    assert text.startswith("% a remark\n\\begin{table}\n")
    assert "Two rows $\\cdot$ best in bold" in text
    assert "A *note*." in text
    assert "97.0$^{*}$" in text
    assert r"\textbf{98.1}" in text
    assert r"image AUROC $\uparrow$" in text


def test_control_characters_become_spaces() -> None:
    assert escaped("a\x1b[2Jb\nc") == r"a \[2Jb c"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[a](http://b)", r"\[a\](http:<!-- -->//b)"),
        ("![a](https://b)", r"!\[a\](https:<!-- -->//b)"),
        ("www.a.b", "www<!-- -->.a.b"),
        ("@someone", "@<!-- -->someone"),
        ("a@b.c", "a@<!-- -->b.c"),
        ("fixes #12", "fixes #<!-- -->12"),
        ("*a* **b**", r"\*a\* \*\*b\*\*"),
        ("_a_ __b__", r"\_a\_ \_\_b\_\_"),
        ("mvtec_ad_2", "mvtec_ad_2"),
        ("~~a~~", r"\~\~a\~\~"),
        ("$x$", r"\$x\$"),
        ("`a` | b", r"\`a\` \| b"),
        ("<img src=x> &amp;", "&lt;img src=x&gt; &amp;amp;"),
    ],
)
def test_markdown_shows_a_text_as_it_is(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_labels_are_narrowed_only_as_far_as_they_must() -> None:
    labels = ["aaa bb cc dd ee ff gg hh", "aa bb cc dd ee ff gg"]
    text = Table(["name", "kind", "value"], [[*labels, "1"]], labels=2).terminal(40, color=False)
    rule = next(line for line in text.splitlines() if line.startswith("─"))
    assert len(rule) == 40
    words = [*" ".join(labels).split(), "name", "kind", "value", "1", rule]
    assert sorted(text.split()) == sorted(words)


def test_labels_get_up_to_two_thirds_of_a_terminal_before_a_word_is_cut():
    headers = ["#", "dataset", "method", "seeds", "failed", "image AUROC ↑", "AUPRO ↑"]
    rows = [["1", "mvtec_ad", "patchcore · patch-product", "1", "0", "96.4", "73.3"]]
    text = Table(headers=headers, rows=rows, labels=5).terminal(80, color=False)
    assert "patch-product" in text
    assert max(map(len, text.splitlines())) <= 80
