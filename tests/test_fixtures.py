"""The fixtures as an author meets them: in a test module that asks for them by name."""

from __future__ import annotations

import ast
from pathlib import Path

from adbench_harness import fixtures

pytest_plugins = ["pytester"]


def test_authors_tests_run_on_them(pytester, toys):
    pytester.makepyfile(
        f"""
        import pytest
        from adbench_harness.planning.plugins import load

        pytest_plugins = ["adbench_harness.fixtures"]
        CATALOGUE = load([{toys!r}])
        Mean = CATALOGUE.get("model", "toy-mean")

        @pytest.fixture
        def side():
            return 32

        def test_a_model_fits_and_tells_a_defect(train_set, tools, batch, defective_batch):
            model = Mean()
            model.fit(train_set, tools)
            from adbench_harness.types import ImageScore
            normal = model.predict(batch)[ImageScore].values
            assert len(train_set) == 8 and len(normal) == 4
            assert model.predict(defective_batch)[ImageScore].values.min() > normal.max()

        class TestAugmenter:
            @pytest.fixture
            def augmenter(self):
                return CATALOGUE.get("augmenter", "toy-square")()

            def test_tools_offer_it(self, tools, batch):
                assert tools.augmenter.augment(batch, tools.generator).masks.shape == (4, 32, 32)

        def test_there_is_none_otherwise(tools):
            assert tools.augmenter is None

        def test_a_run_of_its_own(run, tmp_path):
            found = run(plugins={toys!r}, models="toy-mean", datasets="toy-data/dark")
            assert set(found["status"]) == {{"ok"}}
            assert {{path.stem for path in tmp_path.rglob("*.json")}} == set(found.index)
        """
    )
    pytester.runpytest_inprocess("-q", "-p", "no:cacheprovider").assert_outcomes(passed=4)


def test_every_fixture_is_listed():
    tree = ast.parse(Path(fixtures.__file__).read_text())
    marked = {node.name for node in tree.body if getattr(node, "decorator_list", None)}
    assert marked == set(fixtures.__all__)
