from __future__ import annotations

from pathlib import Path

import pytest

from adbench_harness.downloads.weights import hub_folder
from adbench_harness.errors import UserError
from adbench_harness.images.folders import cache_folder
from adbench_harness.planning.locations import Locations


def test_the_environment_replaces_what_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Locations.given() == Locations()
    monkeypatch.setenv("ADBENCH_DATA", "/data")
    monkeypatch.setenv("ADBENCH_WEIGHTS", "/weights")
    assert Locations.given() == Locations(data="/data", weights="/weights")
    named = Locations.given(Path("d"), {"visa": Path("v")}, Path("w.pth"))
    assert named == Locations(data="d", datasets={"visa": "v"}, weights="w.pth")
    assert Locations.given(datasets={"visa": "v"}).data == "/data"


def test_what_is_downloaded_goes_where_it_is_looked_for() -> None:
    assert Locations().data_folder == cache_folder() / "data"
    assert Locations().weights_folder == hub_folder()
    named = Locations(data="~/d", weights="~/w")
    assert (named.data_folder, named.weights_folder) == (Path.home() / "d", Path.home() / "w")


def test_the_folder_of_an_unknown_data_set_is_refused() -> None:
    known = ("visa", "mvtec_ad")
    Locations(datasets={"visa": "v"}).check(known)
    with pytest.raises(UserError, match=r"--data vis=v: no data set 'vis' \(did you mean 'visa'"):
        Locations(datasets={"vis": "v"}).check(known)
