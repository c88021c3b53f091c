"""Every component in the tree keeps the promises of its kind."""

from __future__ import annotations

from importlib.metadata import entry_points

from adbench_harness.plugins import load
from adbench_harness.testing import parametrize_with_checks

PLUGINS = sorted(
    entry.name
    for entry in entry_points(group="adbench")
    if entry.dist and entry.dist.name == "adbench-harness"
)
COMPONENTS = [
    offer.component
    for kind, offers in load(PLUGINS).offers.items()
    for offer in offers.values()
    if kind != "recipe"
]


@parametrize_with_checks(COMPONENTS)
def test_conformance(component, check):
    check(component)
