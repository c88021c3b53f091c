"""A stored result and its repetition: whether every number is the same."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from adbench_harness.compare.comparison import NOISY
from adbench_harness.compare.images import Arrays, ImageChanges, changes
from adbench_harness.leaderboard.columns import COUNTS
from adbench_harness.planning.suite import Tolerance
from adbench_harness.results.differences import changed_versions
from adbench_harness.results.store import TrialResult
from adbench_harness.wording import counted, wrapped

_SCORES = "image scores"
_TRUTH = ("path", "label", "defect", "class")
_ONE_BY_ONE = ("plugins", "libraries")
"""What a record has by name."""


@dataclass(frozen=True)
class Value:
    """A number in both results, nan where it is missing.

    ``matches`` is None for seconds and MB, which are never the same twice.
    """

    metric: str
    stored: float
    new: float
    matches: bool | None


@dataclass(frozen=True)
class Repetition:
    """Two results of one trial.

    ``others`` are the versions and the devices that differ. If there are none, every number must be
    equal bit for bit (``exact``); otherwise it may differ by the default tolerance of a comparison.
    ``images`` is None if the results are not of the same images with the same truth and kinds of
    values. ``mismatches`` are the names of what is not the same.
    """

    stored: TrialResult
    new: TrialResult
    others: tuple[str, ...]
    exact: bool
    values: tuple[Value, ...]
    images: ImageChanges | None
    mismatches: tuple[str, ...]


def repetition(stored: TrialResult, new: TrialResult) -> Repetition:
    """Compare a stored result with its repetition, image by image if ``stored`` has its images."""
    others = tuple(_others(stored, new))
    allowed = Tolerance() if others else Tolerance(metrics=0, scores=0)
    values = tuple(_values(stored, new, allowed))
    mismatches = [value.metric for value in values if value.matches is False]
    images = None
    if stored.images:
        other = [name for name in _TRUTH if not _same(stored.images, new.images, name)]
        if stored.images.keys() != new.images.keys():
            other.append("kinds of values")
        mismatches += [f"{name} of the images" for name in other]
        images = None if other else changes(stored.images, new.images, 0.0)
        if images and images.furthest > allowed.scores:
            mismatches.append(_SCORES)
    mismatches += [
        name
        for name in ("status", "flags", "columns")
        if getattr(stored, name) != getattr(new, name)
    ]
    room = allowed.metrics
    for name, ends in stored.intervals.items():
        pairs = zip(ends, new.intervals.get(name, ends), strict=True)
        if any(abs(old - now) > room for old, now in pairs):
            mismatches.append(f"interval of {name}")
    # An older record has no chosen values.
    mismatches += [
        f"chosen {name} ({value} → {new.chosen.get(name)})"
        for name, value in stored.chosen.items()
        if value != new.chosen.get(name)
    ]
    if _failures(stored) != _failures(new):
        mismatches.append("failures")
    return Repetition(stored, new, others, not others, values, images, tuple(mismatches))


def _same(old: Arrays, new: Arrays, name: str) -> bool:
    if name == "class" and name not in old and name not in new:
        return True
    return name in old and name in new and np.array_equal(old[name], new[name])


def text(found: Repetition, width: int = 80) -> str:
    """Every number with its stored and its new value, and the verdict, for a terminal."""
    trial, tolerance = found.stored.trial, Tolerance()
    about = [
        f"{trial.title}  {trial.id}",
        "images: not compared, since the trial cannot be planned"
        if any(failure.stage == "plan" for failure in found.new.failures)
        else f"images: the same ({trial.fingerprint})",
        *(f"differs: {other}" for other in found.others),
        "allowed: no difference, since device and versions are the same"
        if found.exact
        else f"allowed: {tolerance.metrics:g} of a metric, {tolerance.scores:g} standard "
        "deviations of a score, since a device or a version differs",
    ]
    lines = [*(wrapped(line, width, "  ") for line in about), ""]
    rows = [("metric", "stored", "new", "difference", "")]
    words = {True: "ok", False: "differs", None: "not compared"}
    for value in found.values:
        distance = value.new - value.stored
        shown = "" if math.isnan(distance) else f"{distance:.3g}"
        rows.append(
            (
                value.metric,
                _number(value.stored),
                _number(value.new),
                shown,
                words[value.matches],
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for name, *cells, word in rows:
        numbers = (c.rjust(w) for c, w in zip(cells, widths[1:], strict=True))
        lines.append("  ".join((name.ljust(widths[0]), *numbers, word)).rstrip())
    seen = (*_about_images(found), *_about_failures(found))
    lines += ["", *(wrapped(line, width, "  ") for line in seen)]
    verdict = f"does not match: {', '.join(found.mismatches)}" if found.mismatches else "matches"
    return "\n".join([*lines, verdict])


def _values(stored: TrialResult, new: TrialResult, allowed: Tolerance) -> Iterator[Value]:
    finite = {name: float(value) for name, value in new.metrics.items() if math.isfinite(value)}
    for name in {**stored.metrics, **finite}:
        old, now = stored.metrics.get(name, math.nan), finite.get(name, math.nan)
        room = 0 if name in COUNTS else allowed.metrics
        yield Value(name, old, now, None if name in NOISY else abs(now - old) <= room)


def _others(stored: TrialResult, new: TrialResult) -> Iterator[str]:
    """What may change the last digits, and is not the same or is not recorded."""
    old, now = stored.provenance, new.provenance
    for name in ("device", "processor", "threads", "python", "torch", "commit"):
        if old.get(name) != now.get(name):
            yield f"{name}: {_said(old.get(name))} → {_said(now.get(name))}"
    for group in _ONE_BY_ONE:
        before, after = old.get(group), now.get(group)
        if not isinstance(before, Mapping) or not isinstance(after, Mapping):
            yield f"{group}: {_said(None)} → {_said(after)}"
            continue
        for name in before.keys() | after.keys() if group == "libraries" else before:
            if name in after and before.get(name) != after[name]:
                yield f"{name}: {_said(before.get(name))} → {after[name]}"
    yield from changed_versions(stored.trial, new.trial)
    on_gpu = now.get("device") not in (None, "cpu")
    if on_gpu and not (old.get("deterministic") and now.get("deterministic")):
        yield "a GPU without deterministic algorithms in both runs (--deterministic)"


def _said(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return "not recorded" if value is None else str(value)


def _failures(result: TrialResult) -> list[tuple[str, str]]:
    return [(failure.stage, failure.message) for failure in result.failures]


def _number(value: float) -> str:
    return "none" if math.isnan(value) else repr(value)


def _about_images(found: Repetition) -> Iterator[str]:
    if found.stored.status == "failed":
        return
    if not found.stored.images:
        yield "image scores: not compared, since the record is without its .npz file"
        return
    if found.images is None:
        yield "image scores: not compared, since the two results have other values of the images"
        return
    yield (
        f"image scores: {found.images.moved} of {counted(found.images.total, 'image')} differ, by "
        f"at most {found.images.furthest:.3g} standard deviations"
    )


def _about_failures(found: Repetition) -> Iterator[str]:
    for when, result in (("stored", found.stored), ("new", found.new)):
        for failure in result.failures:
            yield f"{when} failure in {failure.stage}: {failure.message}"
