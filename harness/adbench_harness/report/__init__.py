"""Results -> a folder of pages for a browser, without network or server."""

from adbench_harness.report.site import Written, write

__all__ = ["Written", "write"]
