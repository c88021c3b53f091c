"""The numbers that a plugin's paper printed, from the plugin's ``reported.csv``."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from importlib.resources import files

from adbench_harness.types import Reported


def read(package: str) -> Iterator[Reported]:
    """The rows of ``package``'s reported.csv.

    Its columns are recipe, method, dataset, category, metric, value (a fraction, unless the metric
    is a count), source (such as the table in the paper), marks (separated by spaces) and
    categories (the number of categories in a mean).
    """
    text = files(package).joinpath("reported.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines()):
        yield Reported(
            method=row["method"],
            dataset=row["dataset"],
            category=row["category"],
            metric=row["metric"],
            value=float(row["value"]),
            source=row["source"],
            recipe=row["recipe"] or None,
            marks=tuple(row["marks"].split()),
            categories=int(row["categories"] or 1),
        )
