from __future__ import annotations

import pytest

from adbench_harness.errors import NotInstalled, nearest, require


def test_nearest_names_the_closest_or_says_nothing() -> None:
    assert nearest("patchcor", ["padim", "patchcore"]) == " (did you mean 'patchcore'?)"
    assert nearest("zzz", ["padim", "patchcore"]) == ""
    assert nearest("padim", iter(())) == ""


def test_an_optional_package_is_here_or_named_with_its_extra() -> None:
    require("torch")
    with pytest.raises(NotInstalled) as error:
        require("no_such_package")
    assert str(error.value) == (
        "no_such_package is not installed; pip install 'adbench-harness[no_such_package]'"
    )
