from __future__ import annotations

from adbench_harness import report
from adbench_harness.planning import plugins
from adbench_harness.results.store import Store
from adbench_harness.types import Reported


class Printed(plugins.Catalogue):
    def reported(self):
        return [
            Reported("Paper <i>", "folder", CATEGORY, "image_auroc", 0.871, "table 1"),
            Reported("Paper <i>", "folder", "elsewhere", "image_auroc", 0.123, "table 1"),
            Reported("Wide", "folder", "mean", "image_auroc", 0.456, "table 1", categories=15),
        ]


CATEGORY = "parts & <b>more"


def test_reported_numbers_stand_beside_measured_ones(results, catalogue, locations, tmp_path, read):
    printed = Printed(**vars(catalogue))
    report.write(Store(results), tmp_path / "s", catalogue=printed, locations=locations, images=0)
    board = read(tmp_path / "s")[0]
    assert "Paper <i> (reported)" in board.text
    assert "87.1" in board.text
    # Neither a category that was not measured nor a mean over more of them.
    assert "12.3" not in board.text
    assert "45.6" not in board.text
