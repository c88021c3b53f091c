"""Categories and their samples as a plan sees them; ``test_plan.py`` has whole plans."""

from __future__ import annotations

from typing import Any

import pytest

from adbench_harness.errors import UserError
from adbench_harness.images import folders
from adbench_harness.planning import suite
from adbench_harness.planning.components import Components
from adbench_harness.planning.data import Data, settings
from adbench_harness.planning.grammar import Wanted
from adbench_harness.planning.locations import Locations
from adbench_harness.planning.plugins import Catalogue
from adbench_harness.planning.samples import Setting
from adbench_harness.results.trial import Choice


@pytest.fixture
def toy(catalogue: Catalogue) -> Choice:
    return Components(catalogue).resolve("dataset", Wanted("toy-data"))


@pytest.fixture
def data(catalogue: Catalogue, toys: str) -> Any:
    def make(**keys: Any) -> Data:
        asked = suite.validate({"plugins": [toys], **keys}, "test")
        return Data(asked, Components(catalogue), Locations())

    return make


def test_each_category_is_a_subset(data: Any, toy: Choice) -> None:
    made = data()
    assert [subset.categories for subset in made.subsets([(toy, "")])] == [("dark",), ("light",)]
    assert [subset.categories for subset in made.subsets([(toy, "light")])] == [("light",)]
    assert list(made.known) == ["dark", "light"]
    with pytest.raises(UserError, match=r"no category 'drak'.*did you mean 'dark'"):
        made.subsets([(toy, "drak")])


def test_unified_categories_are_one_subset(data: Any, toy: Choice) -> None:
    made = data(unified=True)
    [subset] = made.subsets([(toy, "")])
    assert subset.categories == ("dark", "light")
    images = made.images(subset, 0)
    assert set(images.fingerprints) == {"dark", "light"}
    assert images.whole not in ("", *images.fingerprints.values())
    assert images.categories == ("dark",) * 12 + ("light",) * 12
    with pytest.raises(UserError, match="cannot have overrides for one"):
        data(unified=True, overrides={"dark": {"toy-mean.gain": 2}}).subsets([(toy, "")])


def test_the_samples_of_a_subset_are_listed_and_fingerprinted_once(data: Any, toy: Choice) -> None:
    made = data()
    [subset] = made.subsets([(toy, "dark")])
    images = made.images(subset, 0)
    assert made.images(subset, 0) is images
    assert images.fingerprints == {"dark": folders.fingerprint(subset.root, images.samples)}
    assert images.whole == ""
    assert images.failure is None


def test_another_split_knows_the_fingerprint_of_the_first_one(data: Any, toy: Choice) -> None:
    made = data(protocol="classification")  # whose split is drawn
    [subset] = made.subsets([(toy, "dark")])
    first, second = made.images(subset, 0), made.images(subset, 1)
    assert first.fingerprints != second.fingerprints
    assert first.unsplit == {}
    assert second.unsplit == first.fingerprints


def test_too_few_images_for_a_setting_are_the_users_mistake(data: Any, toy: Choice) -> None:
    made = data(shots=5)
    [subset] = made.subsets([(toy, "dark")])
    with pytest.raises(UserError, match="5 shots, but only 4 training images"):
        made.images(subset, 0)


def test_shots_and_their_seeds_multiply(toys: str) -> None:
    asked = suite.validate({"plugins": [toys], "shots": [1, 2], "shot_seeds": 2}, "test")
    found = [(setting.shots, setting.shot_seed) for setting in settings(asked, 3)]
    assert found == [(1, 0), (1, 1), (2, 0), (2, 1)]
    plain = suite.validate({"plugins": [toys], "validation": 0.5}, "test")
    assert settings(plain, 3) == [Setting("unsupervised", 3, validation=0.5)]
