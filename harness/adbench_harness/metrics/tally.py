"""Counts of scores at and between thresholds, in one pass over all pixels of a category."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Scores = NDArray[np.floating[Any]]
Keys = NDArray[np.signedinteger[Any]]
Counts = NDArray[np.int64]

DENSITY = 4
"""Minimum number of buckets per threshold: most buckets then need no comparison."""
PARTS = 1024
"""Parts into which keys are sorted, so that the buckets of one part stay in a core's cache."""
ROOM = 1 << 13
"""Keys of a part that are collected before they are counted; a power of two."""
THREADS = 8
"""Maximum: more threads would wait for memory, and each needs about 32 MB of its own."""

_FORMS: dict[Any, tuple[Any, ...]] = {
    np.dtype(np.int32): (31, np.int32(-(2**31)), np.int32(2**31 - 1), np.int32(0x7F800000)),
    np.dtype(np.int64): (63, np.int64(-(2**63)), np.int64(2**63 - 1), np.int64(0x7FF << 52)),
}


def not_finite(index: int) -> ValueError:
    """The error for the array of that index if it holds nan or infinity."""
    return ValueError(f"scores {index} contain a value that is not finite (nan or infinity)")


def keys(scores: Scores) -> Keys:
    """Integers in the order of the float32 or float64 scores and equally wide; -0 is 0."""
    bits = (scores + scores.dtype.type(0)).view(f"i{scores.itemsize}")
    sign, _, largest, _ = _FORMS[bits.dtype]
    ordered: Keys = bits ^ (bits >> sign & largest)
    return ordered


def sort(keys: Keys) -> tuple[Keys, NDArray[np.intp]]:
    """The keys [P] in ascending order, and where each one stood; equal keys stay in their order."""
    if keys.itemsize > 4 or len(keys) >= 2**32:
        order = np.argsort(keys, kind="stable")
        return keys[order], order
    # Key and position in one integer: numpy sorts these ten times faster than it sorts positions.
    both = np.sort((keys.astype(np.int64) << 32) | np.arange(len(keys)))
    return (both >> 32).astype(keys.dtype), both & 0xFFFFFFFF


class Tally:
    """Counts scores at each of U distinct ascending ``thresholds`` (keys) and between them.

    The keys' range is divided into buckets of the same size. All keys in a bucket without a
    threshold are between the same two thresholds. In the other buckets a search decides, so that
    counts are exact, including ties. Keys are sorted into parts first, and those of a part are
    counted together: random access to all buckets would wait for memory at every pixel.
    """

    def __init__(self, thresholds: Keys) -> None:
        self.thresholds = thresholds
        # One key beyond either end represents all keys there.
        self._low, self._high = thresholds[0] - 1, thresholds[-1] + 1
        span = int(self._high) - int(self._low) + 1
        self._shift = max(0, (span // (DENSITY * len(thresholds))).bit_length() - 1)
        # Index of the gap after the thresholds before a bucket; odd if the bucket holds one itself.
        self._starts = np.zeros((span - 1 >> self._shift) + 1, np.uint32)
        most = _index(thresholds, self._low, np.uint64(self._shift), self._starts)
        self._steps = most.bit_length()
        padding = np.full(1 << self._steps, np.iinfo(thresholds.dtype).max, thresholds.dtype)
        self._padded = np.concatenate([thresholds, padding])
        # Parts hold about the same number of thresholds, to the precision of 2^16 coarse buckets.
        self._coarse = max(self._shift, (span - 1 >> 16).bit_length())
        firsts = self._starts[:: 1 << (self._coarse - self._shift)].astype(np.int64) >> 1
        self._parts = (firsts * PARTS // (len(thresholds) + 1)).astype(np.uint16)

    @property
    def _table(self) -> tuple[Any, ...]:
        return self._padded, self._starts, self._low, np.uint64(self._shift), self._steps

    def count(self, scores: Sequence[Scores], threads: int) -> Counts:
        """Counts [2U+1]: below the first threshold, at it, between it and the second, and so on.

        Each array is counted by one of up to ``THREADS`` threads.

        Raises:
            ValueError: an array has a score that is not finite; the message has its index.
        """
        work = iter(enumerate(scores))
        # Narrow counts if they suffice: twice as many of them fit in the cache.
        width = np.int32 if sum(array.size for array in scores) < 2**31 else np.int64
        threads = min(threads, THREADS, len(scores))
        with ThreadPoolExecutor(threads) as pool:
            parts = pool.map(lambda _: self._count(work, width), range(threads))
            return sum(parts, np.zeros(2 * len(self.thresholds) + 1, np.int64))

    def _count(self, work: Iterator[tuple[int, Scores]], width: Any) -> NDArray[Any]:
        counts = np.zeros(2 * len(self.thresholds) + 1, width)
        room = np.empty(PARTS * ROOM, self.thresholds.dtype)
        ends = np.arange(0, len(room), ROOM).astype(np.uint64)
        spare = np.empty(ROOM, self.thresholds.dtype)
        parts = self._parts, np.uint64(self._coarse), self._high
        for index, array in work:
            bits = np.ascontiguousarray(array).reshape(-1).view(self.thresholds.dtype)
            state = counts, ends, room, spare
            if not _deal(bits, _FORMS[bits.dtype], parts, self._table, state):
                raise ValueError(
                    f"scores {index} contain a value that is not finite (nan or infinity)"
                )
        for start, end in zip(range(0, len(room), ROOM), ends, strict=True):
            _count(room[start:end], self._table, counts, spare)
        return counts


# The kernels index by unsigned integers: otherwise numba checks for negative ones, which takes a
# third of the time.


@njit(nogil=True, cache=True)
def _index(thresholds: Any, low: Any, shift: Any, starts: Any) -> int:
    """Fill in the buckets' ``starts``; the largest number of thresholds in a bucket."""
    most = held = 0
    filled = np.uint64(0)  # buckets
    for slot in range(len(thresholds)):
        bucket = np.uint64(np.int64(thresholds[slot]) - np.int64(low)) >> shift
        if slot and bucket + np.uint64(1) == filled:
            held += 1
        else:
            while filled < bucket:
                starts[filled] = 2 * slot
                filled += np.uint64(1)
            starts[filled] = 2 * slot + 1
            filled += np.uint64(1)
            held = 1
        most = max(most, held)
    while filled < len(starts):
        starts[filled] = 2 * len(thresholds)
        filled += np.uint64(1)
    return most


@njit(nogil=True, cache=True)
def _deal(bits: Any, form: Any, parts: Any, table: Any, state: Any) -> bool:
    """Sort the keys of ``bits`` into parts, counting full parts; returns whether all are finite."""
    sign, smallest, largest, exponent = form
    part_of, coarse, high = parts
    counts, ends, room, spare = state
    low = table[2]
    size = np.uint64(len(spare))
    finite = True
    for i in range(len(bits)):
        b = bits[i]
        finite &= (b & exponent) != exponent
        key = b ^ (b >> sign & largest) if b != smallest else b & 0  # -0 is 0
        key = min(max(key, low), high)
        part = np.uint64(part_of[np.uint64(np.int64(key) - np.int64(low)) >> coarse])
        end = ends[part]
        room[end] = key
        end += np.uint64(1)
        if end & (size - np.uint64(1)) == 0:
            _count(room[end - size : end], table, counts, spare)
            end -= size
        ends[part] = end
    return finite


@njit(nogil=True, cache=True)
def _count(keys: Any, table: Any, counts: Any, spare: Any) -> None:
    """Count keys whose bucket has no threshold directly, and search for the rest."""
    padded, starts, low, shift, _ = table
    rest = np.uint64(0)
    for i in range(len(keys)):  # no branches, since they would be unpredictable
        start = starts[np.uint64(np.int64(keys[i]) - np.int64(low)) >> shift]
        holds = start & np.uint32(1)
        counts[np.uint64(start - holds)] += np.uint32(1) - holds
        spare[rest] = keys[i]
        rest += np.uint64(holds)
    for i in range(rest):
        slot = _slot(spare[i], table)
        counts[np.uint64(2) * slot + np.uint64(padded[slot] == spare[i])] += 1


@njit(nogil=True, cache=True, inline="always")
def _slot(key: Any, table: Any) -> Any:
    """The number of thresholds that are smaller than a key."""
    padded, starts, low, shift, steps = table
    start = starts[np.uint64(np.int64(key) - np.int64(low)) >> shift]
    slot = np.uint64(start >> np.uint32(1))
    for step in range(steps - 1, -1, -1):
        half = np.uint64(1) << np.uint64(step)
        slot += half * np.uint64(padded[slot + half - np.uint64(1)] < key)
    return slot
