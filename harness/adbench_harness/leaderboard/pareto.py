"""Which rows nothing beats in all of several metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


def front(values: Array, *costs: Array) -> NDArray[np.bool_]:
    """The Pareto front [K]: no other point is as good and as cheap, and better in one of these.

    ``values`` [K], the higher the better; each of the ``costs`` [K], the lower the better.
    """
    axes = np.stack([values, *(-cost for cost in costs)])
    as_good = np.all(axes[:, :, None] <= axes[:, None, :], axis=0)
    better = np.any(axes[:, :, None] < axes[:, None, :], axis=0)
    return np.asarray(~np.any(as_good & better, axis=1))
