"""``adbench data``: data sets, listed and fetched."""

from __future__ import annotations

import argparse

from adbench_harness.cli import options
from adbench_harness.errors import UserError

SUMMARY = "List data sets and where they are, or fetch them."


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("list", "fetch"), nargs="?", default="list")
    parser.add_argument("names", nargs="*", metavar="NAME", help="data sets to fetch")
    options.add_places(parser)
    options.add_plugins(parser)


def handle(given: argparse.Namespace) -> int:
    places = options.places(given)
    catalogue = options.loaded(given)
    from adbench_harness import data

    if given.action == "fetch":
        if not given.names:
            raise UserError("fetch what? name a data set ('adbench data' lists them)")
        for name in given.names:
            options.fetch("data", catalogue.get("dataset", name)(), places["data"])
        return 0
    rows = []
    for name, offer in catalogue.offers["dataset"].items():
        dataset = offer.component()
        try:
            root = data.locate(dataset, places["data"], places["datasets"])
            where = f"{len(dataset.categories(root))} categories in {root}"
        except UserError as error:
            where = "not here" if "is not in" in str(error) else str(error)
        rows.append(
            {
                "data set": name,
                "role": dataset.role,
                "licence": dataset.licence,
                "found": where,
                "summary": dataset.summary,
            }
        )
    print(options.table(rows))
    return 0
