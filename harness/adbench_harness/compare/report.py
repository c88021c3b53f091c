"""A comparison as text: for a terminal, a pull request, a CI system, and programs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree as ET

from adbench_harness.compare.comparison import VERDICTS, Comparison, Difference, Pair
from adbench_harness.leaderboard.columns import ABSENT, COUNTS, METRICS, Column, column, headings
from adbench_harness.leaderboard.table import Table, escaped
from adbench_harness.statistics.significance import LEVEL
from adbench_harness.wording import wrapped

SCHEMA = 1
NAMED = 10
"""Maximum number of trials, and of flipped images, listed in a text; the JSON file lists all."""
ACCEPT = "compared again once a new baseline is accepted (adbench compare --accept)"


def title(comparison: Comparison) -> str:
    """The number of trials with each verdict, the most serious first."""
    return ", ".join(f"{count} {verdict}" for verdict, count in comparison.counts.items())


def text(comparison: Comparison, width: int = 80) -> str:
    """The totals; then each trial that is not as good, and the reasons below it.

    Trials with the same verdict and reasons are together.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[Pair]] = {}
    for pair in _shown(comparison):
        groups.setdefault((pair.verdict, tuple(reasons(pair))), []).append(pair)
    lines = [wrapped(title(comparison), width)]
    for (verdict, found), pairs in groups.items():
        lines += [
            "",
            *(wrapped(f"{verdict}: {one.trial.title}", width, "    ") for one in pairs[:NAMED]),
        ]
        if len(pairs) > NAMED:
            lines.append(f"{verdict}: and {len(pairs) - NAMED} more")
        each = "each: " * (len(pairs) > 1)
        lines += [wrapped(f"  {each}{reason}", width, "    ") for reason in found]
    return "\n".join(lines)


def reasons(pair: Pair) -> list[str]:
    """The reasons for a trial's verdict, one line each."""
    if pair.new is None:
        missing = "in the baseline, but not in the new run"
        nearest = f"; the most similar trial there differs: {', '.join(pair.versions)}"
        return [missing + nearest * bool(pair.versions)]
    if pair.verdict == "failed":
        return [f"{failure.stage}: {failure.message}" for failure in pair.new.failures]
    if pair.old is None:
        return ["not in the baseline"]
    if pair.versions:
        return [*pair.versions, ACCEPT]
    beyond = (_difference(one, _column(one.metric, pair)) for one in _beyond(pair))
    return [*beyond, *_images(pair)]


def _beyond(pair: Pair) -> list[Difference]:
    """Metrics beyond tolerance, the most serious first."""
    beyond = [one for one in pair.differences if one.verdict != "as good"]
    return sorted(beyond, key=lambda one: VERDICTS.index(one.verdict))


def _column(metric: str, pair: Pair) -> Column:
    return column(metric, headings(result for result in (pair.old, pair.new) if result))


def _difference(one: Difference, shown: Column) -> str:
    if one.verdict == "missing":
        return f"{shown.title} {_exact(shown, one.old)} → missing"
    change = f"{shown.title} {_exact(shown, one.old)} → {_exact(shown, one.new)}"
    if not math.isnan(one.growth):
        return f"{change} (×{one.growth:.1f} over the model's trials, ×{one.allowed:g} is noise)"
    allowed = f"{_exact(shown, one.allowed)} allowed"
    if one.metric in COUNTS:
        allowed = "no growth allowed" if one.allowed == 1 else f"×{one.allowed:g} allowed"
    if one.verdict == "better":
        return f"{change} (better; {allowed})"
    if math.isnan(one.p):
        return f"{change} ({allowed})"
    chance = ": may be chance on these images" if one.p >= LEVEL else ""
    return f"{change} ({allowed}, paired test p = {one.p:.2g}{chance})"


def _images(pair: Pair) -> Iterator[str]:
    images = pair.images
    if images.moved:
        unit = "" if math.isnan(images.threshold) else " standard deviations"
        yield (
            f"scores of {images.moved} of {images.total} images changed beyond tolerance, by up to "
            f"{images.furthest:.2g}{unit}"
        )
    if images.flips:
        cut = "" if math.isnan(images.threshold) else f" at the threshold {images.threshold:.4g}"
        yield f"{len(images.flips)} flipped{cut}:"
    for flip in images.flips[:NAMED]:
        yield f"  {flip.path}: {flip.was} {flip.old:.4g} → {flip.now} {flip.new:.4g}"
    if len(images.flips) > NAMED:
        yield f"  and {len(images.flips) - NAMED} more"


def _exact(shown: Column, value: float) -> str:
    """A number with enough digits to see a difference."""
    if shown.unit == "count":
        return f"{value:,.0f}"
    return f"{100 * value:.2f}" if shown.unit == "%" else shown.show(value)


def _shown(comparison: Comparison) -> list[Pair]:
    """The pairs that a reader should look at."""
    return [pair for pair in comparison.pairs if pair.verdict not in ("as good", "new")]


# ---------------------------------------------------------------- Markdown


def markdown(comparison: Comparison) -> str:
    """For a pull request: the totals, quality and cost together, and the flipped images."""
    shown = _shown(comparison)
    rest = [pair for pair in comparison.pairs if pair not in shown]
    sign = {0: "✅", 1: "❌", 2: "⚠️"}[comparison.exit_code]
    parts = [f"### {sign} adbench: {title(comparison)}"]
    if shown:
        parts += [_table(shown), *map(_section, shown)]
    if rest:
        summary = f"<summary>{len(rest)} as good or new</summary>"
        parts.append(f"<details>{summary}\n\n{_table(rest)}\n\n</details>")
    return "\n\n".join([*parts, escaped(_made(comparison))]) + "\n"


def _section(pair: Pair) -> str:
    lines = [f"**{pair.verdict}** {escaped(pair.trial.title)}", ""]
    for reason in reasons(pair):
        indent = len(reason) - len(reason.lstrip())
        lines.append(f"{' ' * indent}- {escaped(reason.strip())}")
    return "\n".join(lines)


def _table(pairs: Sequence[Pair]) -> str:
    """One row per trial; a visible change is shown as old → new, in bold if beyond tolerance."""
    results = [result for pair in pairs for result in (pair.old, pair.new) if result]
    found = {metric for result in results for metric in result.metrics}
    metrics = [*(m for m in METRICS if m in found), *sorted(found.difference(METRICS))]
    known = headings(results)
    bold = set()
    rows = []
    for i, pair in enumerate(pairs):
        beyond = {one.metric for one in _beyond(pair)}
        bold |= {(i, j) for j, metric in enumerate(metrics, 2) if metric in beyond}
        cells = (_cell(metric, pair) for metric in metrics)
        rows.append([pair.verdict, pair.trial.title, *cells])
    headers = ["verdict", "trial", *(column(m, known).header for m in metrics)]
    return Table(headers, rows, labels=2, best=frozenset(bold)).markdown().rstrip()


def _cell(metric: str, pair: Pair) -> str:
    show = _column(metric, pair).show
    shown = [
        show(result.metrics[metric]) if metric in result.metrics else ABSENT
        for result in (pair.old, pair.new)
        if result
    ]
    return " → ".join(dict.fromkeys(shown))


def _made(comparison: Comparison) -> str:
    """How both runs were made, and the tolerances."""
    sides = []
    for name in ("old", "new"):
        results = [result for pair in comparison.pairs if (result := getattr(pair, name))]
        facts = [
            _all(result.provenance.get("device") for result in results),
            f"torch {_all(result.provenance.get('torch') for result in results)}",
            f"{_all(result.provenance.get('threads') for result in results)} threads",
            f"commit {_all(result.provenance.get('commit') for result in results)}",
        ]
        sides.append(f"{'baseline' if name == 'old' else 'new'}: {', '.join(facts)}")
    allowed = comparison.tolerance
    sides.append(
        f"allowed: metrics {100 * allowed.metrics:g}, images' scores {allowed.scores:g} standard "
        f"deviations, seconds and MB ×{allowed.noise:g}"
    )
    return " · ".join(sides)


def _all(values: Iterable[Any]) -> str:
    return "/".join(sorted({str(value) for value in values if value is not None})) or "none"


# ---------------------------------------------------------------- for programs


def junit(comparison: Comparison) -> str:
    """JUnit XML: one test case per trial, an error if it cannot be compared."""
    cases = []
    for pair in comparison.pairs:
        trial = pair.trial
        place = f"{trial.dataset.label}/{trial.category}"
        case = ET.Element(
            "testcase",
            classname=_printable(place),
            name=_printable(trial.title.removeprefix(f"{place} · ")),
            time=f"{sum(pair.new.seconds_alone.values()) if pair.new else 0:.3f}",
        )
        found = reasons(pair)
        if pair.verdict in ("worse", "changed", "missing"):
            kind = "failure"
        elif pair.verdict in ("failed", "re-baseline"):
            kind = "error"
        else:
            kind = ""
        if kind:
            problem = ET.SubElement(
                case, kind, type=pair.verdict, message=_printable(f"{pair.verdict}: {found[0]}")
            )
            problem.text = _printable("\n".join(found), "\n")
        cases.append(case)
    counts: dict[str, Any] = {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": str(sum(case.find("error") is not None for case in cases)),
        "skipped": "0",
        "time": f"{sum(float(case.get('time', 0)) for case in cases):.3f}",
    }
    suites: ET.Element = ET.Element("testsuites", name="adbench compare", **counts)
    ET.SubElement(suites, "testsuite", name="adbench compare", **counts).extend(cases)
    ET.indent(suites)
    written: bytes = ET.tostring(suites, encoding="utf-8", xml_declaration=True)
    return written.decode() + "\n"


def _printable(text: str, but: str = "") -> str:
    """``text`` without control characters, which XML cannot contain."""
    return "".join(c if c.isprintable() or c in but else " " for c in text)


def json_text(comparison: Comparison) -> str:
    """Everything, with a ``schema``; metrics as fractions, unknown values as null."""
    content = {
        "schema": SCHEMA,
        "exit_code": comparison.exit_code,
        "counts": comparison.counts,
        "tolerance": comparison.tolerance.model_dump(),
        "trials": [
            {
                "verdict": pair.verdict,
                "title": pair.trial.title,
                "reasons": reasons(pair) if pair.verdict != "as good" else [],
                "baseline": pair.old and pair.old.trial.id,
                "new": pair.new and pair.new.trial.id,
                "differences": [asdict(one) for one in pair.differences],
                "images": asdict(pair.images),
            }
            for pair in comparison.pairs
        ],
    }
    return json.dumps(_plain(content), indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
