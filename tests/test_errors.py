from __future__ import annotations

from adbench_harness.errors import nearest


def test_nearest_names_the_closest_or_says_nothing() -> None:
    assert nearest("patchcor", ["padim", "patchcore"]) == " (did you mean 'patchcore'?)"
    assert nearest("zzz", ["padim", "patchcore"]) == ""
    assert nearest("padim", iter(())) == ""
