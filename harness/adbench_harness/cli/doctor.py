"""``adbench doctor``: what this machine has, what it lacks, and what to do about it."""

from __future__ import annotations

import argparse
import os

from adbench_harness.cli import options

SUMMARY = "Show what this machine has and lacks: device, search, weights, data."


def arguments(parser: argparse.ArgumentParser) -> None:
    options.add_locations(parser)


def handle(given: argparse.Namespace) -> int:
    rows = [*_machine(), *_backbones(given), *_datasets(given)]
    print(options.table([dict(zip(("what", "found", "do"), row, strict=True)) for row in rows]))
    return 0


def _machine() -> list[tuple[str, str, str]]:
    import torch

    from adbench_harness.images import cache, folders

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    rows = [
        ("torch", torch.__version__, ""),
        (
            "device",
            ", ".join(gpus) or f"cpu, {torch.get_num_threads()} of {os.cpu_count()} threads",
            "" if gpus else "if this machine has a GPU, check its driver",
        ),
    ]
    try:
        import faiss

        count = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
        note = "" if count or not gpus else "on the GPU, torch is used instead"
        rows.append(("faiss", f"{faiss.__version__}, {count} GPUs", note))
    except ImportError as error:
        rows.append(("faiss", f"no ({error})", "nothing: torch is used instead"))
    kept = sum(path.stat().st_size for path in cache.folder().glob("*"))
    rows += [
        ("cache", str(folders.cache_folder()), "set ADBENCH_CACHE to move it"),
        (
            "prepared images",
            f"{kept / 2**20:.0f} of at most {cache.LIMIT / 2**20:.0f} MB in {cache.folder()}",
            "delete it at any time",
        ),
    ]
    return rows


def _backbones(given: argparse.Namespace) -> list[tuple[str, str, str]]:
    from adbench_harness.downloads import weights
    from adbench_harness.planning import plugins

    location = options.locations(given).weights
    rows, missing = [], []
    for name, offer in plugins.load(()).offers["backbone"].items():
        found = weights.find(offer.component(), location)
        if found is None:
            missing.append(name)
        elif found.path is None:
            rows.append((f"backbone {name}", "needs no weights", ""))
        else:
            note = "" if found.verified else "not the published file: rows with it are marked"
            rows.append((f"backbone {name}", found.path, note))
    if missing:
        rows.append(("weights not found", ", ".join(missing), "adbench weights fetch NAME"))
    return rows


def _datasets(given: argparse.Namespace) -> list[tuple[str, str, str]]:
    from adbench_harness.planning import plugins

    locations = options.locations(given)
    known = options.sound(plugins.available()) if locations.datasets else plugins.load(())
    offers = known.offers["dataset"]
    locations.check(offers)
    rows = []
    missing: dict[str, list[str]] = {}
    for name, offer in offers.items():
        dataset = offer.component()
        if found := options.whereabouts(dataset, locations):
            rows.append((f"data {name}", found, ""))
        else:
            step = "adbench data fetch NAME" if dataset.archives else "--data NAME=DIR"
            missing.setdefault(step, []).append(name)
    rows += [("data not found", ", ".join(names), step) for step, names in missing.items()]
    return rows
