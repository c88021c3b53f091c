from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from adbench_harness.engines import local


def test_bundles_run_in_their_order_and_each_result_comes_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []

    def run_bundle(bundle: str, progress: Any) -> Any:
        for trial in range(2):
            seen.append((bundle, trial, progress))
            yield f"{bundle}{trial}"

    monkeypatch.setattr(local, "run_bundle", run_bundle)
    results = local.run(["a", "b"], "progress")  # type: ignore[arg-type, list-item]
    assert seen == [], "nothing runs before somebody asks"
    assert next(results) == "a0"
    assert seen == [("a", 0, "progress")]
    assert list(results) == ["a1", "b0", "b1"]


@pytest.mark.parametrize("error", [OSError, AttributeError])
def test_a_library_without_malloc_options_is_no_problem(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def load(name: None) -> Any:
        if error is OSError:
            raise OSError("there is no such library")
        return SimpleNamespace()  # which lacks mallopt

    monkeypatch.setattr(local.ctypes, "CDLL", load)
    assert list(local.run([], lambda *_: None)) == []
