"""Engines, which run bundles.

An engine is called with bundles, with ``begin`` and with ``stage``, and yields each trial's result
as soon as it is ready. It knows nothing of storing. Before a bundle starts, ``begin`` returns what
of it is to be run now, or None if another process has done it or is doing it. ``stage`` takes
(stage, done, total).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adbench_harness.results.store import TrialResult
    from adbench_harness.results.trial import Bundle

    Begin = Callable[[Bundle], Bundle | None]
    Stage = Callable[[str, int, int], None]
    Engine = Callable[[Sequence[Bundle], Begin, Stage], Iterator[TrialResult]]
