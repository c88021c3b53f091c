from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adbench_harness.errors import UserError
from adbench_harness.planning import grammar
from adbench_harness.planning.grammar import Wanted
from adbench_harness.results.trial import Choice

NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,6}", fullmatch=True)
# The grammar has no escape, so a text with both kinds of quotes cannot be written.
TEXTS = st.text(st.sampled_from("ab 1.,:;+=()[]'/-é")).filter(
    lambda text: text not in ("none", "None")
)
VALUES = st.recursive(TEXTS, lambda inner: st.lists(inner, max_size=3), max_leaves=4)
PARAMS = st.dictionaries(NAMES, VALUES, max_size=3)


def as_choice(name: str, params: dict[str, object]) -> Choice:
    return Choice(name, 1, params, tuple(params))


@given(NAMES, PARAMS)
def test_a_label_reads_back_as_what_it_was_written_from(
    name: str, params: dict[str, object]
) -> None:
    label = as_choice(name, params).label
    assert grammar.component(label) == Wanted(name, params)
    assert grammar.chains(f"none,{label}+x,{label}") == [
        [],
        [Wanted(name, params), Wanted("x")],
        [Wanted(name, params)],
    ]


def test_labels_show_values_as_the_command_line_writes_them() -> None:
    inner = {"name": "padim", "version": 1, "params": {"dims": 64}, "changed": ["dims"]}
    params = {"a": None, "b": True, "c": 0.5, "d": ["x", "y"], "e": inner, "f": "a,b"}
    label = as_choice("afps", params).label
    assert label == "afps(a=none,b=true,c=0.5,d=[x,y],e=padim(dims=64),f='a,b')"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mean:size=11:sigma=2", Wanted("mean", {"size": "11", "sigma": "2"})),
        ("mean(size=11, sigma=2)", Wanted("mean", {"size": "11", "sigma": "2"})),
        ("mean(size=11):sigma=2", Wanted("mean", {"size": "11", "sigma": "2"})),
        ("afps:detector=padim(dims=64)", Wanted("afps", {"detector": "padim(dims=64)"})),
        ("m:layers=[a, b]", Wanted("m", {"layers": ["a", "b"]})),
        ("m:layers=[]", Wanted("m", {"layers": []})),
        ("m:grid=[[a],[b,c]]", Wanted("m", {"grid": [["a"], ["b", "c"]]})),
        ("m:path='C:/a,b'", Wanted("m", {"path": "C:/a,b"})),
        ("'folder/my part (1)'", Wanted("folder/my part (1)")),
        ("folder/'my part (1)'", Wanted("folder/my part (1)")),
        ('"folder/x (1)":table=a', Wanted("folder/x (1)", {"table": "a"})),
        ("folder/'x (1)'(table=a)", Wanted("folder/x (1)", {"table": "a"})),
        ("m:text=a=b", Wanted("m", {"text": "a=b"})),
    ],
)
def test_component(text: str, expected: Wanted) -> None:
    assert grammar.component(text) == expected


def test_names_in_quotes_have_no_separators() -> None:
    text = "folder/'p:q','folder/x,y+z',mean"
    assert grammar.chains(text) == [
        [Wanted("folder/p:q")],
        [Wanted("folder/x,y+z")],
        [Wanted("mean")],
    ]
    with pytest.raises(UserError, match=r"'1' is not a parameter; .* or quote a name"):
        grammar.chains("folder/my part (1)")


def test_axis_of_alternatives_and_chains() -> None:
    assert grammar.chains("none,mean:size=11+median,m:x=[1,2]") == [
        [],
        [Wanted("mean", {"size": "11"}), Wanted("median")],
        [Wanted("m", {"x": ["1", "2"]})],
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "name is missing"),
        ("mean,", "name is missing"),
        ("mean+", "name is missing"),
        (":size=3", "name is missing"),
        ("mean:size", "write name=value"),
        ("mean:=3", "write name=value"),
        ("mean(size=3", "not closed"),
        ("mean:x=[1,2", "not closed"),
        ("mean:x='1", "not closed"),
        ("mean)", "has no opening bracket"),
        ("mean:x=[1)", "has no opening bracket"),
        ("mean:x=1:x=2", "'x' is set twice"),
    ],
)
def test_mistakes_are_quoted_with_their_reason(text: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason) as error:
        grammar.chains(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "names"), [("", []), (" ", []), ("a", ["a"]), ("a, b,,c ", ["a", "b", "c"])]
)
def test_names(text: str, names: list[str]) -> None:
    assert grammar.names(text) == names


@given(st.text(st.sampled_from("ab,:+=()[]'\" ")))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        chains = grammar.chains(text)
    except UserError:
        return
    assert all(isinstance(link, Wanted) and link.name for chain in chains for link in chain)
