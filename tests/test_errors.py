from __future__ import annotations

import pytest

from adbench_harness.errors import NotInstalled, clean, nearest, require


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


def test_spaces_of_other_languages_are_text_and_what_turns_a_line_is_not():
    assert clean("AUROC\u00a0↑ 好\u3000的") == "AUROC\u00a0↑ 好\u3000的"
    assert clean("a\u202eb\x1b[1m\u200b") == "a\ufffdb\ufffd[1m\ufffd"
