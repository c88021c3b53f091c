from __future__ import annotations

from typing import Any

import pytest
import torch

from adbench_harness.engines import inline


def test_bundles_run_in_their_order_and_each_result_comes_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []

    def run_bundle(bundle: str, watch: Any) -> Any:
        for trial in range(2):
            seen.append((bundle, trial, watch.stage, torch.get_num_threads()))
            yield f"{bundle}{trial}"

    def begin(bundle: Any) -> Any:
        return None if bundle == "taken" else bundle

    monkeypatch.setattr(inline, "run_bundle", run_bundle)
    results = inline.Inline(3)(["a", "taken", "b"], begin, "stage")  # type: ignore[list-item, arg-type]
    assert seen == [], "nothing runs before somebody asks"
    assert next(results) == "a0"
    assert seen == [("a", 0, "stage", 3)]
    assert list(results) == ["a1", "b0", "b1"]
