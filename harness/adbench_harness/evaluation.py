"""A trial's scores and the ground truth: everything that a metric may see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from adbench_harness.metrics.ranking import Ranking as Ranking  # for the types of metrics

T = TypeVar("T")
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores and ground truth of N test images.

    A field is None or empty if the scorer or the data set does not provide it.

    ``labels`` int8 [N]: 0 normal, 1 anomalous, -1 unknown. ``scores`` float32 [N], higher is more
    anomalous. ``predicted`` and ``true``: int64 class indices [N] into ``classes``. ``defects`` [N]
    are the images' defect types, "good" for normal images, and ``names`` [N] the paths of their
    files, relative to the data root. ``validation`` float32 [V] are the image scores of held-out
    normal images.

    ``maps`` and ``masks``: float32 and bool [H, W] of the M images whose pixel labels are known;
    ``mapped`` int64 [M] are the indices of these images. ``regions`` [M] are the separate masks of
    each of these images, bool [H, W] of the map's size, in the order of ``Sample.masks`` (empty for
    a normal image); a mask is read when it is accessed. ``saturation`` [M] has, for each region,
    the area in px that a model must find (None: all of it).
    """

    labels: NDArray[np.int8]
    scores: NDArray[np.float32] | None = None
    maps: Sequence[NDArray[np.float32]] | None = None
    masks: Sequence[Mask] | None = None
    predicted: NDArray[np.int64] | None = None
    true: NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()
    defects: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    mapped: NDArray[np.int64] | None = None
    regions: Sequence[Sequence[Mask]] | None = None
    saturation: Sequence[Sequence[float | None]] | None = None
    validation: NDArray[np.float32] | None = None

    def has(self, needs: str, defects: Sequence[str] = ()) -> bool:
        """Whether the fields that a metric ``needs`` are present, and images of all ``defects``.

        See ``Metric``.
        """
        present = {
            "image": (self.scores,),
            "map": (self.maps,),
            "classes": (self.predicted,),
            "validation": (self.scores, self.validation),
            "regions": (self.maps, self.regions),
        }
        fields = all(value is not None for value in present[needs])
        return fields and {*defects} <= {*self.defects}

    @cached_property
    def images(self) -> Ranking:
        """The images in order of their scores, without images of unknown label."""
        from adbench_harness.metrics.ranking import Ranking  # its kernels take long to load

        assert self.scores is not None
        known = self.labels >= 0
        return Ranking.of_images(self.scores[known], self.labels[known] == 1)

    @cached_property
    def pixels(self) -> Ranking:
        """All pixels in order of their scores. They are sorted once for all pixel metrics."""
        return self.weighted(None)

    def weighted(self, weights: Sequence[NDArray[np.float64]] | None) -> Ranking:
        """All pixels in order of their scores, with the given weights of the anomalous ones.

        ``weights`` [M] contains the weights [P] of each mask's P pixels, row by row. None gives
        every connected region the same weight.
        """
        from adbench_harness.metrics.ranking import Ranking

        assert self.maps is not None
        assert self.masks is not None
        return Ranking.of_pixels(self.maps, self.masks, weights)

    def only(self, kept: NDArray[np.bool_]) -> Evaluation:
        """The evaluation of the images for which ``kept`` bool [N] is true.

        Raises ValueError if there are maps but no ``mapped``.
        """
        chosen = np.flatnonzero(kept)
        images = replace(
            self,
            labels=self.labels[chosen],
            scores=_taken(self.scores, chosen),
            predicted=_taken(self.predicted, chosen),
            true=_taken(self.true, chosen),
            defects=tuple(self.defects[i] for i in chosen) if self.defects else (),
            names=tuple(self.names[i] for i in chosen) if self.names else (),
        )
        if self.maps is None:
            return images
        if self.mapped is None:
            raise ValueError("an evaluation with maps needs mapped, the index of each map's image")
        among = np.flatnonzero(kept[self.mapped])

        def some(items: Sequence[T] | None) -> Sequence[T] | None:
            return None if items is None else Lazy(items.__getitem__, among.tolist())

        return replace(
            images,
            maps=some(self.maps),
            masks=some(self.masks),
            mapped=np.searchsorted(chosen, self.mapped[among]),
            regions=some(self.regions),
            saturation=some(self.saturation),
        )

    def of_defects(self, *defects: str) -> Evaluation:
        """The evaluation of the normal images and of those that show one of these defect types."""
        if len(self.defects) != len(self.labels):
            raise ValueError("the evaluation does not have the defect type of each image")
        shown = np.isin(np.array(self.defects, dtype=str), defects)
        return self.only((self.labels == 0) | shown)

    @contextmanager
    def protected(self) -> Iterator[None]:
        """Within it, what tries to change the scores or the ground truth raises ValueError."""
        arrays: list[NDArray[Any] | None] = [
            self.labels,
            self.scores,
            self.predicted,
            self.true,
            self.validation,
        ]
        arrays += [*(self.maps or ()), *(self.masks or ())]
        writable = [array for array in arrays if array is not None and array.flags.writeable]
        for array in writable:
            array.flags.writeable = False
        try:
            yield
        finally:
            for array in writable:
                array.flags.writeable = True

    def once(self, make: Callable[[Evaluation], T]) -> T:
        """``make(self)``, computed once for all metrics that pass the same function."""
        if make not in self._made:
            self._made[make] = make(self)
        made: T = self._made[make]
        return made

    @cached_property
    def _made(self) -> dict[Callable[[Evaluation], Any], Any]:
        return {}


def _taken(values: NDArray[Any] | None, chosen: NDArray[np.int64]) -> NDArray[Any] | None:
    return None if values is None else values[chosen]


class Lazy(Sequence[T]):
    """``make(i)`` for each i of ``chosen``, computed at each access."""

    def __init__(self, make: Callable[[int], T], chosen: Sequence[int]) -> None:
        self._make = make
        self._chosen = chosen

    def __len__(self) -> int:
        return len(self._chosen)

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...

    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            return Lazy(self._make, self._chosen[index])
        return self._make(self._chosen[index])
