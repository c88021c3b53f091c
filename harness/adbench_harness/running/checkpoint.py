"""A training's state and curves on disk, so that an interrupted fit continues where it stopped."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


class FileCheckpoint:
    """A checkpoint in one file, replaced atomically; if ``path`` is None, nothing is saved.

    Implements ``Checkpoint``. ``curves`` has what was logged so far; it is saved and loaded with
    the state.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.curves: dict[str, list[float]] = {}

    def log(self, curve: str, value: float) -> None:
        """Add a point to a curve."""
        self.curves.setdefault(curve, []).append(float(value))

    def load(self) -> dict[str, Any] | None:
        """The last saved state, or None; the curves are loaded with it.

        A damaged file, such as after a power cut, counts as none: the training starts again.
        """
        if self._path is None or not self._path.is_file():
            return None
        try:
            saved = torch.load(self._path, map_location="cpu", weights_only=True)
            curves, state = dict(saved["curves"]), dict(saved["state"])
        except Exception:  # torch has many kinds
            return None
        self.curves = curves
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the saved state."""
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(f".{os.getpid()}.tmp")
        try:
            torch.save({"state": dict(state), "curves": self.curves}, temporary)
            os.replace(temporary, self._path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def clear(self) -> None:
        """Forget the state once the training is done."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
