"""Which rows nothing beats in both of two metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


def front(values: Array, costs: Array) -> NDArray[np.bool_]:
    """The Pareto front [K]: no other point is as good and as cheap, and better in one of both.

    ``values`` [K], the higher the better; ``costs`` [K], the lower the better.
    """
    good, cheap = values[:, None] <= values, costs[:, None] >= costs
    better = (values[:, None] < values) | (costs[:, None] > costs)
    return np.asarray(~np.any(good & cheap & better, axis=1))
