"""Where data and weights are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from adbench_harness.errors import UserError, nearest

if TYPE_CHECKING:
    from adbench_harness.downloads.fetcher import Fetcher


@dataclass(frozen=True)
class Locations:
    """Where data and weights are; ``fetch``, if given, downloads what is missing.

    ``data`` is a folder of data sets, ``datasets`` the folder of each by its name, ``weights`` a
    folder or a file.
    """

    data: str | None = None
    datasets: Mapping[str, str] = field(default_factory=dict)
    weights: str | None = None
    fetch: Fetcher | None = None

    @classmethod
    def given(
        cls,
        data: str | Path | None = None,
        datasets: Mapping[str, str | Path] | None = None,
        weights: str | Path | None = None,
        fetch: Fetcher | None = None,
    ) -> Locations:
        """The locations that the user names; ADBENCH_DATA and ADBENCH_WEIGHTS are the defaults."""
        return cls(
            data=str(data) if data else os.environ.get("ADBENCH_DATA"),
            datasets={name: str(folder) for name, folder in (datasets or {}).items()},
            weights=str(weights) if weights else os.environ.get("ADBENCH_WEIGHTS"),
            fetch=fetch,
        )

    def check(self, known: Iterable[str]) -> None:
        """Raise UserError for the folder of a data set that is not among the ``known`` ones."""
        known = list(known)
        for name in self.datasets:
            if name not in known:
                raise UserError(
                    f"--data {name}={self.datasets[name]}: no data set '{name}'"
                    f"{nearest(name, known)}; the plugins in use provide {', '.join(known)}"
                )

    @property
    def data_folder(self) -> Path:
        """The folder into which data sets are downloaded."""
        from adbench_harness.images.folders import cache_folder

        return Path(self.data).expanduser() if self.data else cache_folder() / "data"

    @property
    def weights_folder(self) -> Path:
        """The folder into which weights are downloaded, by default torch's own."""
        from adbench_harness.downloads.weights import hub_folder

        return Path(self.weights).expanduser() if self.weights else hub_folder()
