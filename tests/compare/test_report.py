from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from adbench_harness.compare import compare, json_text, junit, markdown, text
from adbench_harness.compare.report import NAMED
from adbench_harness.planning.suite import Tolerance
from adbench_harness.results.trial import Choice

from .conftest import TITLE, TRIAL, failed, result, scores


def seed(number):
    return replace(TRIAL, seed=number)


@pytest.fixture
def comparison(stored):
    """One trial of every verdict, by its seed."""
    flipped = scores()
    flipped[[3, 25]] = flipped[[25, 3]]
    old = [result(seed(n)) for n in range(7)]
    new = [
        failed(seed(0)),
        result(seed(2), flipped, aupro=0.7, image_auroc=0.87),
        result(seed(3), flipped),
        result(replace(seed(4), scorer=Choice("nn", 2, {"sigma": 4}))),
        result(seed(5), flops=4e6),
        result(seed(6)),
        result(seed(7)),
    ]
    return compare(stored("old", *old), stored("new", *new), Tolerance())


TITLES = [TITLE.replace("seed 0", f"seed {n}") for n in range(8)]


def test_a_terminal_gets_a_line_a_trial_and_its_reasons(comparison):
    first, *lines = text(comparison, 200).splitlines()
    assert first == (
        "1 failed, 1 missing, 1 worse, 1 changed, 1 re-baseline, 1 better, 1 as good, 1 new"
    )
    verdicts = ("failed", "missing", "worse", "changed", "re-baseline", "better")
    assert [line for line in lines if line and not line.startswith(" ")] == [
        f"{verdict}: {title}" for verdict, title in zip(verdicts, TITLES, strict=False)
    ]
    for reason in (
        "  fit: no memory",
        "  AUPRO 80.00 → 70.00 (0.50 allowed)",
        "  version of nn: 1 → 2",
        "  FLOPs 5,000,000 → 4,000,000 (better; no growth allowed)",
    ):
        assert reason in lines
    missing = "  in the baseline, but not in the new run; the most similar trial there differs: "
    assert f"{missing}seed: 1 → 7" in lines
    assert any(
        line.startswith("  image AUROC 90.00 → 87.00 (0.50 allowed, paired test p = 0.")
        and line.endswith(": may be chance on these images)")
        for line in lines
    )


def test_the_images_that_flipped_are_named(comparison):
    (changed,) = (pair for pair in comparison.pairs if pair.verdict == "changed")
    assert {flip.path for flip in changed.images.flips} == {
        "grass/test/003.png",
        "grass/test/025.png",
    }
    for report in (text(comparison, 200), markdown(comparison), json_text(comparison)):
        for flip in changed.images.flips:
            assert flip.path in report
    flip = changed.images.flips[0]
    line = f"{flip.path}: {flip.was} {flip.old:.4g} → {flip.now} {flip.new:.4g}"
    assert f"    {line}" in text(comparison, 200).splitlines()
    assert f"  - {line}" in markdown(comparison).splitlines()


def test_a_text_names_a_few_and_counts_the_rest(stored):
    found = compare(stored("old", result()), stored("new", result(score=-scores())), Tolerance())
    (pair,) = found.pairs
    assert len(pair.images.flips) > NAMED
    lines = text(found, 200).splitlines()
    assert sum(".png: " in line for line in lines) == NAMED
    assert f"    and {len(pair.images.flips) - NAMED} more" in lines


class TestMarkdown:
    def test_quality_and_cost_stand_together(self, comparison):
        lines = markdown(comparison).splitlines()
        header = next(line for line in lines if line.startswith("| verdict"))
        columns = [cell.strip() for cell in header.split("|")[1:-1]]
        assert columns[2:6] == ["image AUROC ↑", "AUPRO ↑", "params ↓", "FLOPs ↓"]
        (row,) = (line for line in lines if line.startswith("| worse "))
        cells = [cell.strip() for cell in row.split("|")[1:-1]]
        assert cells[2:6] == ["**90.0 → 87.0**", "**80.0 → 70.0**", "1.0 k", "5.0 M"]

    def test_what_is_as_good_is_folded_away(self, comparison):
        shown, folded = markdown(comparison).split("<details>")
        assert TITLES[6] not in shown
        assert TITLES[6] in folded
        assert TITLES[7] in folded

    def test_the_sum_and_how_the_runs_were_made(self, comparison):
        lines = markdown(comparison).splitlines()
        assert lines[0].startswith("### ❌ adbench: 1 failed, 1 missing")
        assert "torch 2.15, 2 threads, commit abc" in lines[-1]

    @pytest.mark.parametrize("name", ["a|b", "<script>", "*x*", "`rm`"])
    def test_no_name_is_taken_for_markup(self, stored, name):
        old, new = (result(replace(TRIAL, category=name), aupro=a) for a in (0.8, 0.1))
        page = markdown(compare(stored("old", old), stored("new", new), Tolerance()))
        assert f"mini/{name} ·" not in page
        for line in page.splitlines():
            if line.startswith("|"):
                assert line.replace("\\|", "").count("|") == 3 + 7


# The elements and attributes that the schemas of Jenkins, GitLab and the Surefire plugin share.
ELEMENTS = {
    "testsuites": {"name", "tests", "failures", "errors", "skipped", "time"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time"},
    "testcase": {"name", "classname", "time"},
    "failure": {"type", "message"},
    "error": {"type", "message"},
}
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"testcase"},
    "testcase": {"failure", "error"},
    "failure": set(),
    "error": set(),
}


class TestJUnit:
    def test_it_has_the_common_schemas_elements(self, comparison):
        root = ET.fromstring(junit(comparison).encode())
        assert root.tag == "testsuites"
        for element in root.iter():
            assert set(element.keys()) == ELEMENTS[element.tag]
            assert {child.tag for child in element} <= CHILDREN[element.tag]
            assert len(element) < 2 or element.tag == "testsuite"
            if "time" in element.keys():  # noqa: SIM118  # an element's own items are its children
                assert float(element.get("time", "nan")) >= 0

    def test_the_counts_are_right(self, comparison):
        root = ET.fromstring(junit(comparison).encode())
        for element in (root, *root.findall("testsuite")):
            for tag, attribute in (
                ("testcase", "tests"),
                ("failure", "failures"),
                ("error", "errors"),
                ("skipped", "skipped"),
            ):
                assert int(element.get(attribute, "-1")) == len(list(element.iter(tag)))

    def test_each_verdict_has_its_element(self, comparison):
        root = ET.fromstring(junit(comparison).encode())
        found = {
            case.get("name", "")[-1]: [(problem.tag, problem.get("type")) for problem in case]
            for case in root.iter("testcase")
        }
        assert found == {
            "0": [("error", "failed")],
            "1": [("failure", "missing")],
            "2": [("failure", "worse")],
            "3": [("failure", "changed")],
            "4": [("error", "re-baseline")],
            "5": [],
            "6": [],
            "7": [],
        }
        (worse,) = (p for p in root.iter("failure") if p.get("type") == "worse")
        assert worse.get("message") == "worse: AUPRO 80.00 → 70.00 (0.50 allowed)"

    def test_no_message_breaks_it(self, stored):
        broken = failed()
        bad = replace(broken.failures[0], message="\x1b[31m <&> \x00")
        new = stored("new", replace(broken, failures=(bad,)))
        root = ET.fromstring(junit(compare(stored("old", result()), new, Tolerance())).encode())
        (error,) = root.iter("error")
        assert "<&>" in (error.text or "")


class TestJson:
    def test_it_says_everything_of_a_known_schema(self, comparison):
        content = json.loads(json_text(comparison))
        assert list(content) == ["schema", "exit_code", "counts", "tolerance", "trials"]
        assert (content["schema"], content["exit_code"]) == (1, 1)
        assert content["tolerance"] == Tolerance().model_dump()
        worse = next(trial for trial in content["trials"] if trial["verdict"] == "worse")
        assert worse["title"] == TITLES[2]
        assert worse["baseline"] == worse["new"] == seed(2).id
        (aupro,) = (one for one in worse["differences"] if one["metric"] == "aupro")
        assert aupro == {
            "metric": "aupro",
            "old": 0.8,
            "new": 0.7,
            "allowed": 0.005,
            "verdict": "worse",
            "p": None,
            "growth": None,
        }
        assert worse["images"]["total"] == 40
        assert len(worse["images"]["flips"]) == 2

    def test_what_is_not_known_is_null(self, comparison, stored):
        def refuse(constant):
            raise AssertionError(constant)

        json.loads(json_text(comparison), parse_constant=refuse)
        blind = replace(result(), images={})
        found = compare(stored("a", blind), stored("b", blind), Tolerance())
        content = json.loads(json_text(found), parse_constant=refuse)
        assert content["trials"][0]["images"]["threshold"] is None


def test_an_empty_comparison_can_be_written(stored):
    nothing = compare(stored("old"), stored("new"), Tolerance())
    assert nothing.exit_code == 0
    assert markdown(nothing)
    assert ET.fromstring(junit(nothing).encode()).get("tests") == "0"
    assert json.loads(json_text(nothing))["trials"] == []


def test_trials_with_the_same_reason_are_together(stored):
    dataset, other = (replace(TRIAL, dataset=Choice(name, 1, {})) for name in ("old", "new"))
    old = [result(replace(dataset, seed=n)) for n in range(NAMED + 2)]
    lines = text(compare(stored("old", *old), stored("new", result(other)), Tolerance()), 80)
    first, blank, *trials, more, reason, last = lines.splitlines()
    assert first == f"{NAMED + 2} missing, 1 new"
    assert blank == ""
    assert len(trials) == NAMED
    assert all(line.startswith("missing: old/") for line in trials)
    assert more == "missing: and 2 more"
    assert [reason, last] == [
        "  each: in the baseline, but not in the new run; the most similar trial there",
        "    differs: data set: old → new",
    ]


def test_a_name_with_control_characters_is_xml_too(stored):
    trial = replace(TRIAL, category="a\x1b[2J\x00\udcff", dataset=Choice("x\x07", 1))
    found = compare(stored("old", result(trial)), stored("new", failed(trial)), Tolerance())
    case = ET.fromstring(junit(found).encode()).find(".//testcase")
    assert case.get("classname") == "x /a [2J  "
    assert json.loads(json_text(found).encode())["trials"][0]["title"].startswith("x\x07/a\x1b")
