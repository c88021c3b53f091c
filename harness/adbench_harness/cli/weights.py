"""``adbench weights``: lists and fetches the weights of backbones."""

from __future__ import annotations

import argparse
from typing import Any

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
    backbones = [offer.component() for offer in catalogue.offers["backbone"].values()]
    print(options.table([_row(backbone, locations.weights) for backbone in backbones]))
    licensed = [(b.name, b.weights.license) for b in backbones if b.weights]
    print("\nlicenses\n" + options.grouped(licensed))
    return 0


def _row(backbone: Any, folder: str | None) -> dict[str, str]:
    from adbench_harness.downloads import weights

    found = weights.find(backbone, folder)
    if backbone.weights is None:
        place = "none needed"
    elif found is None:
        place = f"not found: adbench weights fetch {backbone.name}"
    else:
        place = f"{found.path}{'' if found.verified else ' (not the published file)'}"
    published = backbone.weights.sha256 if backbone.weights else None
    return {
        "backbone": backbone.name,
        "sha256": ((found.sha256 if found else published) or "")[:8],
        "weights": place,
    }
