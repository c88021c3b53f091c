"""Every component in the tree keeps the promises of its kind."""

from __future__ import annotations

from adbench_harness.planning.plugins import load
from adbench_harness.testing import parametrize_with_checks
from installed import in_tree

COMPONENTS = [
    offer.component
    for kind, offers in load(in_tree()).offers.items()
    for offer in offers.values()
    if kind != "recipe"
]


@parametrize_with_checks(COMPONENTS)
def test_conformance(component, check):
    check(component)
