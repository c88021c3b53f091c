"""What of the tree is installed."""

from __future__ import annotations

from importlib.metadata import entry_points


def in_tree() -> list[str]:
    """Plugins of this distribution that are always whole.

    One that needs an extra bears its name, and its own tests see to it.
    """
    return sorted(
        entry.name
        for entry in entry_points(group="adbench")
        if entry.dist
        and entry.dist.name == "adbench-harness"
        and entry.name not in (entry.dist.metadata.get_all("Provides-Extra") or ())
    )
