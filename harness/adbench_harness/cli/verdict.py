"""The options of a threshold, and the threshold that they and a result give."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adbench_harness.cli import options
from adbench_harness.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from adbench_harness.results.store import Store, TrialResult

BEST = "best-f1"


def arguments(parser: argparse.ArgumentParser) -> None:
    level = parser.add_mutually_exclusive_group()
    level.add_argument(
        "--threshold",
        metavar="SCORE",
        help=f"images with higher scores are anomalous; {BEST}: the best F1 on the test images",
    )
    level.add_argument(
        "--false-alarms",
        type=float,
        metavar="SHARE",
        help="threshold that this share of held-out normal images exceeds (default 0.01)",
    )


def check(given: argparse.Namespace) -> None:
    """Raise UserError for an option that no result could satisfy."""
    if given.false_alarms is not None and not 0 <= given.false_alarms < 1:
        raise UserError(f"--false-alarms {given.false_alarms:g}: write a share from 0 to below 1")


def threshold(store: Store, stored: TrialResult, given: argparse.Namespace) -> float | None:
    """The score above which an image is anomalous; None if nothing tells it."""
    from adbench_harness.results.threshold import of_false_alarms

    images = store.scored(stored.trial)
    if "score" not in images:
        if given.threshold is not None or given.false_alarms is not None:
            raise UserError(f"{stored.trial.title} gives no image scores, so it has no threshold")
        return None
    if given.threshold == BEST:
        return _best_f1(images, stored)
    if given.threshold is not None:
        try:
            level = float(given.threshold)
        except ValueError:
            level = math.nan
        if not math.isfinite(level):
            raise UserError(f"--threshold '{given.threshold}' is not a score or {BEST}")
        return level
    held_out = images.get("validation")
    if held_out is None or not len(held_out):
        if given.false_alarms is not None:
            raise UserError(
                f"--false-alarms: {stored.trial.title} held out no normal images; run it with "
                "--validation 0.2, or give --threshold"
            )
        options.tell(
            "no verdicts: the run held out no normal images; run with --validation 0.2, or give "
            "--threshold"
        )
        return None
    rate = 0.01 if given.false_alarms is None else given.false_alarms
    level = of_false_alarms(held_out, rate)
    few = f"; {len(held_out)} images cannot show a lower rate than {1 / len(held_out):.1%}"
    options.tell(
        f"threshold {level:.6g}: at most {100 * rate:.4g}% of {len(held_out)} held-out normal "
        f"images have a higher score{few if rate * len(held_out) < 1 else ''}"
    )
    return level


def _best_f1(images: Mapping[str, NDArray[Any]], stored: TrialResult) -> float:
    from adbench_harness.results.threshold import of_best_f1

    known = images["label"] >= 0
    if len(set(images["label"][known].tolist())) < 2:
        raise UserError(
            f"--threshold {BEST}: the test images of {stored.trial.title} are not both normal and "
            "anomalous; give a score"
        )
    level = of_best_f1(images["score"][known], images["label"][known])
    options.tell(
        f"threshold {level:.6g}: the best F1 on the test images, which were used to choose it, so "
        "verdicts on new images will be worse"
    )
    return level
