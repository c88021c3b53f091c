"""Downloads of data sets and weights: their license, their archives, their place."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench_harness.errors import UserError

if TYPE_CHECKING:
    from adbench_harness.downloads.fetch import DownloadProgress


def add_license(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--accept-license", action="store_true", help="accept the license of what is downloaded"
    )


def weights(backbones: Sequence[Any], place: str | None, accepted: bool) -> list[Path]:
    """Download the backbones' weights into ``place`` or where torch keeps them; the files."""
    from adbench_harness.downloads.weights import hub_folder

    folder = Path(place).expanduser() if place else hub_folder()
    if folder.is_file():
        raise UserError(f"--weights '{folder}' is a file; name a folder to fetch into")
    for backbone in backbones:
        if backbone.weights is None:
            raise UserError(f"backbone '{backbone.name}' needs no weights; use it as it is")
    targets = {backbone.name: folder / backbone.weights.filename for backbone in backbones}
    _check_licenses(
        [
            (backbone.name, backbone.weights.license)
            for backbone in backbones
            if not targets[backbone.name].exists()
        ],
        accepted,
    )
    for backbone in backbones:
        target = targets[backbone.name]
        _download(backbone.weights.url, target, backbone.weights.sha256, None)
        _say(f"{backbone.name}: {target}")
    return list(targets.values())


def datasets(chosen: Sequence[Any], place: str | None, accepted: bool) -> list[Path]:
    """Download data sets and unpack them into ``place/<name>``, or into the cache; the folders."""
    from adbench_harness.images.folders import cache_folder

    parent = Path(place).expanduser() if place else cache_folder() / "data"
    for dataset in chosen:
        if not dataset.archives:
            raise UserError(
                f"data set '{dataset.name}' has nothing to fetch; name its folder with "
                f"--data {dataset.name}=DIR"
            )
    absent = [dataset for dataset in chosen if not _is_here(dataset, parent / dataset.name)]
    for dataset in absent:
        _check_by_hand(dataset, parent)
    _check_licenses(
        [
            (dataset.name, _license(dataset))
            for dataset in absent
            if any(not (parent / archive.name).exists() for archive in dataset.archives)
        ],
        accepted,
    )
    for dataset in chosen:
        if dataset in absent:
            _fetch(dataset, parent)
        _say(f"{dataset.name}: {parent / dataset.name}")
    return [parent / dataset.name for dataset in chosen]


def _fetch(dataset: Any, parent: Path) -> None:
    """Download the archives, unpack them together, write their checksums down, remove them."""
    from adbench_harness.downloads import checksums, fetch

    for archive in dataset.archives:
        target = parent / archive.name
        if archive.url is None:
            fetch.check(target, sha256=archive.sha256, md5=archive.md5)
        else:
            try:
                _download(archive.url, target, archive.sha256, archive.md5)
            except UserError as error:
                raise UserError(f"{error}{_instead(dataset, target)}") from error
        if not archive.sha256 and not archive.md5:
            digest = fetch.sha256(target)
            _say(
                f"{dataset.name}: {archive.name} is unverified: no checksum is published; its "
                f"sha256 is {digest}"
            )
    root = parent / dataset.name
    with _bar(f"unpacking {dataset.name}") as progress:
        targets = [parent / archive.name for archive in dataset.archives]
        fetch.extract(targets, root, max_bytes=None, progress=progress, finish=checksums.write)
    for archive in dataset.archives:
        if archive.url is None:
            _say(f"{dataset.name}: '{parent / archive.name}' is no longer needed")
        else:
            (parent / archive.name).unlink()


def _is_here(dataset: Any, root: Path) -> bool:
    """Whether ``root`` holds the data set; raises UserError where it holds something else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        return bool(dataset.categories(root))
    except (UserError, OSError):
        raise UserError(
            f"'{root}' is there, but holds no {dataset.name}; move it away to fetch it"
        ) from None


def _check_by_hand(dataset: Any, parent: Path) -> None:
    """Raise UserError, with address and place, where a person must get an archive."""
    for archive in dataset.archives:
        if archive.url is None and not (parent / archive.name).exists():
            raise UserError(
                f"data set '{dataset.name}': a program cannot download it; get {archive.name}"
                f" from {dataset.page} as that page asks, put it at "
                f"'{parent / archive.name}', and run the same command again to check and unpack it"
            )


def _instead(dataset: Any, target: Path) -> str:
    """What to do where an address has moved."""
    page = dataset.page
    return f"; or get it from {page} yourself and put it at '{target}'" if page else ""


def _check_licenses(licenses: Sequence[tuple[str, str]], accepted: bool) -> None:
    """Say the licenses of what is about to be downloaded, and go on only if they are accepted."""
    lines = [f"{name}: license {terms}" for name, terms in licenses]
    if lines and not accepted:
        raise UserError(f"{'; '.join(lines)}; read that, then add --accept-license to accept it")
    for line in lines:
        _say(line)


def _license(dataset: Any) -> str:
    page = dataset.page
    return f"{dataset.license}{f', see {page}' if page else ''}{_size(dataset)}"


def _size(dataset: Any) -> str:
    total = sum(archive.gigabytes or 0 for archive in dataset.archives)
    return f" ({total:.1f} GB to download)" if total else ""


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _download(url: str, target: Path, sha256: str | None, md5: str | None) -> None:
    from adbench_harness.downloads import fetch

    with _bar(target.name) as progress:
        fetch.download(url, target, sha256=sha256, md5=md5, progress=progress)


@contextmanager
def _bar(title: str) -> Iterator[DownloadProgress]:
    """A progress bar of bytes, on a terminal only."""
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    with Progress(
        *Progress.get_default_columns()[:2],
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as shown:
        task = shown.add_task(title, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
