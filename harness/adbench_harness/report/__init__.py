"""Writes results as a folder of pages for a browser, without a network or a server."""

from adbench_harness.report.site import Written, write

__all__ = ["Written", "write"]
