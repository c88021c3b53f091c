"""What a metric sees: all of it, some of its images, and what was computed once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from adbench_harness.evaluation import Evaluation
from adbench_harness.metrics.ranking import Ranking

LABELS = np.array([0, 1, 1, 0, 1, -1], np.int8)
DEFECTS = ("good", "spot", "scratch", "good", "spot", "good")
MAPPED = np.array([0, 1, 3, 4])  # of the scratch there are no masks


class Read(Sequence):
    """The separate masks of each mapped image; which of them were asked for."""

    def __init__(self, regions):
        self.regions = regions
        self.asked = []

    def __len__(self):
        return len(self.regions)

    def __getitem__(self, index):
        self.asked.append(index)
        return self.regions[index]


@pytest.fixture
def whole():
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(4, 5)).astype("f4") for _ in MAPPED]
    halves = np.arange(20).reshape(4, 5) % 2 == 0
    regions = [[], [halves, ~halves], [], [halves]]
    masks = [np.any([np.zeros((4, 5), bool), *some], axis=0) for some in regions]
    return Evaluation(
        LABELS,
        rng.normal(size=6).astype("f4"),
        maps,
        masks,
        predicted=np.array([0, 1, 2, 0, 1, 0]),
        true=np.array([0, 1, 1, 0, 2, 0]),
        classes=("good", "spot", "scratch"),
        defects=DEFECTS,
        names=tuple(f"{i}.png" for i in range(6)),
        mapped=MAPPED,
        regions=Read(regions),
        saturation=[(), (3.0, None), (), (None,)],
        validation=np.zeros(2, "f4"),
    )


def test_what_old_constructions_leave_out_is_empty_or_none():
    bare = Evaluation(LABELS)
    assert (bare.defects, bare.names, bare.classes) == ((), (), ())
    assert not any(bare.has(needs) for needs in NEEDS)
    images = Evaluation(LABELS, np.zeros(6, "f4"))
    assert [needs for needs in NEEDS if images.has(needs)] == ["image"]


NEEDS = ("image", "map", "classes", "validation", "regions")


def test_each_need_is_met_by_what_it_implies(whole):
    assert all(whole.has(needs) for needs in NEEDS)
    held_out = Evaluation(LABELS, validation=np.zeros(2, "f4"))
    assert not held_out.has("validation"), "there is no score to hold against them"
    regions = Evaluation(LABELS, regions=[[]], mapped=np.zeros(1, int))
    assert not regions.has("regions"), "there is no map"
    with pytest.raises(KeyError):
        whole.has("pixels")


def test_some_images_keep_all_that_is_theirs(whole):
    kept = np.array([False, True, True, False, True, True])
    some = whole.only(kept)
    assert some.labels.tolist() == [1, 1, 1, -1]
    assert some.scores.tolist() == whole.scores[kept].tolist()
    assert some.defects == ("spot", "scratch", "spot", "good")
    assert some.names == ("1.png", "2.png", "4.png", "5.png")
    assert (some.predicted.tolist(), some.true.tolist()) == ([1, 2, 1, 0], [1, 1, 2, 0])
    assert some.mapped.tolist() == [0, 2]
    assert some.maps[0] is whole.maps[1]
    assert some.masks[-1] is whole.masks[3]
    assert list(some.saturation) == [(3.0, None), (None,)]
    assert some.validation is whole.validation
    assert whole.regions.asked == [], "masks are read when they are asked for"
    assert [len(regions) for regions in some.regions[:]] == [2, 1]
    assert whole.regions.asked == [1, 3]


def test_some_images_rank_as_if_there_were_no_others(whole):
    some = whole.only(np.array([True, True, False, False, False, True]))
    assert some.images.auroc() == Ranking.of_images(whole.scores[:2], LABELS[:2] == 1).auroc()
    assert some.pixels.aupro(0.3) == Ranking.of_pixels(whole.maps[:2], whole.masks[:2]).aupro(0.3)


def test_the_images_of_a_defect_type_stand_beside_the_normal_ones(whole):
    spots = whole.of_defects("spot")
    assert spots.names == ("0.png", "1.png", "3.png", "4.png"), "of 5.png nothing is known"
    assert whole.of_defects("spot", "scratch").defects == DEFECTS[:5]
    none = whole.of_defects("dent")
    assert none.defects == ("good", "good")
    assert np.isnan(none.images.auroc())


def test_an_image_is_chosen_again_by_its_place_among_the_chosen(whole):
    twice = whole.of_defects("spot").only(np.array([False, True, False, True]))
    assert twice.names == ("1.png", "4.png")
    assert all(mask is own for mask, own in zip(twice.masks, whole.masks[1::2], strict=True))
    assert twice.mapped.tolist() == [0, 1]


def test_what_is_not_known_is_missed_by_name():
    with pytest.raises(ValueError, match="the defect type of each image"):
        Evaluation(LABELS).of_defects("spot")
    maps = Evaluation(LABELS, maps=[np.zeros((2, 2), "f4")], masks=[np.eye(2, dtype=bool)])
    with pytest.raises(ValueError, match="the index of each map's image"):
        maps.only(LABELS == 1)


def test_what_several_metrics_ask_for_is_made_once(whole):
    made = []

    def counted(evaluation):
        made.append(evaluation)
        return len(made)

    assert [whole.once(counted), whole.once(counted)] == [1, 1]
    assert whole.only(LABELS >= 0).once(counted) == 2
    assert made[0] is whole


def test_other_weights_change_the_overlap_and_nothing_else(whole):
    weights = [np.zeros(np.count_nonzero(mask)) for mask in whole.masks]
    weights[1][np.argmax(whole.maps[1][whole.masks[1]])] = 1
    ranking = whole.weighted(weights)
    assert ranking.auroc() == whole.pixels.auroc()
    assert ranking.average_precision() == whole.pixels.average_precision()
    top = whole.maps[1][whole.masks[1]].max()
    normal = np.concatenate([m[~mask] for m, mask in zip(whole.maps, whole.masks, strict=True)])
    assert ranking.aupro(1.0) == pytest.approx(np.mean(normal < top))
    with pytest.raises(ValueError, match="differ in number"):
        whole.weighted(weights[:3])
