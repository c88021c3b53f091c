from __future__ import annotations

import pytest

from adbench_harness.engines import choice
from adbench_harness.engines.inline import Inline
from adbench_harness.engines.local import Local
from adbench_harness.engines.ray import Ray
from adbench_harness.errors import UserError


def test_the_engines_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert choice.engine() == Local(None, 3, None, None)
    assert choice.engine("inline", threads=2) == Inline(2)
    limits = {"workers": 4, "timeout": 60.0, "memory": 2**30}
    assert choice.engine("local", **limits) == Local(4, 3, 60.0, 2**30)  # type: ignore[arg-type]
    made = choice.engine("ray", address="auto", threads=1)
    assert made == Ray("auto", None, 1, None, None)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"name": "slurm"}, "unknown engine 'slurm'; write local, inline, ray"),
        ({"name": "local", "address": "auto"}, "--address is for --engine ray"),
        ({"name": "inline", "workers": 2}, "--workers needs worker processes"),
        ({"name": "inline", "timeout": 2.0}, "--trial-timeout needs worker processes"),
        ({"name": "inline", "memory": 2}, "--trial-memory needs worker processes"),
    ],
)
def test_what_does_not_fit_together_is_refused(asked: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        choice.engine(**asked)  # type: ignore[arg-type]
