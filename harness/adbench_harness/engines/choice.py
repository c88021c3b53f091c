"""The engine that a user asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adbench_harness.errors import UserError

if TYPE_CHECKING:
    from adbench_harness.engines import Engine

NAMES = ("local", "inline", "ray")


def engine(
    name: str = "local",
    *,
    workers: int | None = None,
    threads: int | None = None,
    timeout: float | None = None,
    memory: int | None = None,
    address: str | None = None,
) -> Engine:
    """The engine ``name`` of ``NAMES`` with the given settings. Raises UserError."""
    from adbench_harness.engines import process

    threads = threads or process.default_threads()
    given = {"workers": workers, "trial-timeout": timeout, "trial-memory": memory}
    if name != "ray" and address is not None:
        raise UserError(f"--address is for --engine ray, not for --engine {name}")
    if name == "inline":
        for option, value in given.items():
            if value is not None:
                raise UserError(f"--{option} needs worker processes; leave out --engine inline")
        from adbench_harness.engines.inline import Inline

        return Inline(threads)
    if name == "local":
        from adbench_harness.engines.local import Local

        return Local(workers, threads, timeout, memory)
    if name == "ray":
        from adbench_harness.engines.ray import Ray

        return Ray(address, workers, threads, timeout, memory)
    raise UserError(f"unknown engine '{name}'; write {', '.join(NAMES)}")
