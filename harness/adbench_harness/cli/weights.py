"""``adbench weights``: lists and fetches the weights of backbones."""

from __future__ import annotations

import argparse

from adbench_harness.cli import options
from adbench_harness.errors import UserError

SUMMARY = "List backbones and where their weights are, or fetch them."


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("list", "fetch"), nargs="?", default="list")
    parser.add_argument("names", nargs="*", metavar="NAME", help="backbones to fetch")
    parser.add_argument("--weights", metavar="PATH", help="folder to search, or to download to")
    options.add_license(parser)
    options.add_plugins(parser)


def handle(given: argparse.Namespace) -> int:
    from adbench_harness.planning.locations import Locations

    locations = Locations.given(weights=given.weights)
    catalogue = options.loaded(given)
    from adbench_harness.downloads import weights

    if given.action == "fetch":
        if not given.names:
            raise UserError("fetch needs the name of a backbone; 'adbench weights' lists them")
        chosen = [catalogue.get("backbone", name)() for name in given.names]
        from adbench_harness.display import Display
        from adbench_harness.downloads.fetcher import Fetcher

        with Display() as display:
            fetcher = Fetcher(accepted=given.accept_license, listener=display)
            fetcher.weights(chosen, locations.weights_folder)
        return 0
    rows = []
    for name, offer in catalogue.offers["backbone"].items():
        backbone = offer.component()
        found = weights.find(backbone, locations.weights)
        rows.append(
            {
                "backbone": name,
                "weights": "none needed"
                if backbone.weights is None
                else "not found"
                if found is None
                else f"{found.path}{'' if found.verified else ' (not the published file)'}",
                "sha256": (found.sha256 or "")[:16] if found else backbone.weights.sha256 or "",
                "license": backbone.weights.license if backbone.weights else "",
            }
        )
    print(options.table(rows))
    return 0
