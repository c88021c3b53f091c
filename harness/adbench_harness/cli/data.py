"""``adbench data``: lists, fetches and verifies data sets."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from adbench_harness.cli import options
from adbench_harness.errors import UserError, nearest
from adbench_harness.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from adbench_harness.images.verify import Findings
    from adbench_harness.planning.locations import Locations

SUMMARY = "List data sets and where they are, fetch them, or verify those on this machine."
SHOWN = 20
"""Maximum number of errors printed per category; the rest are counted."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("list", "fetch", "verify"), nargs="?", default="list")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="data sets; for verify, as in a run: NAME/CATEGORY, folder:table=x.csv",
    )
    options.add_locations(parser)
    options.add_plugins(parser)
    options.add_license(parser)


def handle(given: argparse.Namespace) -> int:
    """Returns 0, or 1 if verification found an error."""
    locations = options.locations(given)
    catalogue = options.loaded(given)
    locations.check(catalogue.offers["dataset"])
    if given.action == "verify":
        return _verify(given.names, catalogue, locations)
    if given.action == "fetch" and not given.names:
        raise UserError("fetch needs the name of a data set; 'adbench data' lists them")
    names = given.names or catalogue.offers["dataset"]
    chosen = [catalogue.get("dataset", name)() for name in names]
    if given.action == "fetch":
        from adbench_harness.display import Display
        from adbench_harness.downloads.fetcher import Fetcher

        with Display() as display:
            fetcher = Fetcher(accepted=given.accept_license, listener=display)
            fetcher.datasets(chosen, locations.data_folder)
    else:
        print(options.table([_row(dataset, locations) for dataset in chosen]))
        print("\nlicenses\n" + options.grouped((one.name, one.license) for one in chosen))
    return 0


def _row(dataset: Any, locations: Locations) -> dict[str, str]:
    published = dataset.published()
    gigabytes = sum(archive.gigabytes or 0 for archive in dataset.archives)
    return {
        "data set": dataset.name,
        "categories": str(len(published) or ""),
        "images": str(sum(published.values()) or ""),
        "GB": f"{gigabytes:.1f}" if gigabytes else "",
        "found": options.whereabouts(dataset, locations) or f"not found: {_how_to_get(dataset)}",
    }


def _how_to_get(dataset: Any) -> str:
    if not dataset.archives:
        return f"name its folder with --data {dataset.name}=DIR"
    if all(archive.url for archive in dataset.archives):
        return f"adbench data fetch {dataset.name}"
    return f"request it at {dataset.page}; 'adbench data fetch {dataset.name}' explains how"


def _verify(names: list[str], catalogue: Any, locations: Locations) -> int:
    from adbench_harness.images import folders
    from adbench_harness.planning import grammar, parameters

    wrong = 0
    for written in names or catalogue.offers["dataset"]:
        wanted = grammar.component(written)
        name, _, only = wanted.name.partition("/")
        choice = parameters.resolve(catalogue, "dataset", grammar.Wanted(name, wanted.params))
        dataset = parameters.build(catalogue, "dataset", choice)
        if not names and options.whereabouts(dataset, locations) is None:
            continue
        root = folders.locate(dataset, locations.data, locations.datasets)
        wrong += _verify_one(dataset, root, only)
    return int(wrong > 0)


def _verify_one(dataset: Any, root: Path, only: str) -> int:
    """Print the state of a data set or of one of its categories; returns the number of errors."""
    from adbench_harness.images import verify

    title = f"{dataset.name} in {root}"
    try:
        categories = list(dataset.categories(root))
    except UserError as error:
        print(f"{title}\n  {only or 'categories'}: refused")
        return _print_mistakes([str(error)])
    if only and only not in categories:
        raise UserError(
            f"data set '{dataset.name}' has no category '{only}'{nearest(only, categories)}; it "
            f"has {', '.join(categories)}"
        )
    print(title, flush=True)
    wrong = 0
    for category in [only] if only else categories:
        found = verify.category(dataset, root, category)
        options.say(f"  {category}: {_counted(dataset, category, found)}", "    ")
        for note in found.notes:
            options.say(f"    note: {note}", "      ")
        wrong += _print_mistakes(found.wrong)
    if only or not dataset.archives:
        return wrong
    files = verify.files(root)
    options.say(f"  checksums: {_checked(dataset, files)}", "    ")
    wrong += _print_mistakes(files.wrong)
    if missing := verify.missing(dataset, categories):
        options.say(f"  not found: {', '.join(missing)}", "    ")
    return wrong + len(missing)


def _counted(dataset: Any, category: str, found: Findings) -> str:
    from adbench_harness.datasets.official import SplitCounts

    if found.wrong and not found.samples:
        return "refused"
    text = str(SplitCounts.of(found.samples))
    if unlabelled := sum(s.split == "test" and s.label is None for s in found.samples):
        text += f" and {unlabelled} without a label"
    text += f", {counted(found.masks, 'mask')}"
    known = dataset.empty_masks.get(category, 0)
    if found.empty:
        text += f" ({found.empty} empty, {'as published' if found.empty == known else 'check it'})"
    if found.samples:
        text += f", values {found.low} to {found.high}"
    if found.wrong:
        return f"{text}, not ok"
    return f"{text}, see the notes" if found.notes else f"{text}, ok"


def _checked(dataset: Any, files: Findings) -> str:
    if files.wrong:
        return f"{len(files.wrong)} of {files.files} files differ"
    if files.files:
        known = all(archive.sha256 or archive.md5 for archive in dataset.archives)
        note = "" if known else "; unverified: no checksum of the download is published"
        return f"{files.files} files are as they were unpacked{note}"
    return "none, since the data set was not unpacked by 'adbench data fetch'"


def _print_mistakes(wrong: Sequence[str]) -> int:
    for line in wrong[:SHOWN]:
        options.say(f"    wrong: {line}", "      ")
    if len(wrong) > SHOWN:
        print(f"    wrong: and {len(wrong) - SHOWN} more")
    return len(wrong)
