from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from adbench_harness.errors import UserError
from adbench_harness.planning.locations import Locations
from adbench_harness.running.bundle import load
from adbench_harness.running.images import TrialImages
from toys import HEIGHT, WIDTH


@pytest.fixture
def trial(planned, own_data):
    (bundle,) = planned()
    return bundle.trials[0]


def here(trial, toys):
    return TrialImages(trial, load((toys,)), Locations())


@pytest.fixture
def root(planned, trial):
    (bundle,) = planned()
    return Path(bundle.root)


def test_images_and_masks_are_found_by_the_paths_of_results(trial, toys, root):
    images = here(trial, toys)
    path = "dark/test/spot/0.png"
    drawn = cv2.cvtColor(cv2.imread(str(root / path)), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(images.image(path), drawn)
    truth = cv2.imread(str(root / "dark/ground_truth/spot/0.png"), cv2.IMREAD_GRAYSCALE) > 127
    np.testing.assert_array_equal(images.mask(path), truth)
    assert not images.mask("dark/test/good/0.png").any()


def test_truth_is_in_the_order_that_is_asked_for(trial, toys):
    paths = ["dark/test/spot/2.png", "dark/test/good/1.png"]
    truth = here(trial, toys).truth(paths)
    assert [sample.defect for sample in truth.samples] == ["spot", "good"]
    assert [truth.size(i) for i in range(2)] == [(HEIGHT, WIDTH)] * 2
    assert [mask.sum() for mask in truth.masks] == [100, 0]
    assert truth.threshold == 127


def test_a_mask_is_read_once(trial, toys, root):
    images = here(trial, toys)
    mask = images.mask("dark/test/spot/0.png")
    (root / "dark/ground_truth/spot/0.png").unlink()
    assert images.mask("dark/test/spot/0.png") is mask


def test_other_images_than_the_measured_ones_are_refused(trial, toys, root):
    with pytest.raises(UserError, match=r"toy-data/dark' are not those that the results were"):
        here(replace(trial, fingerprint="0" * 16), toys)
    (root / "dark/test/spot/0.png").write_bytes(b"another")
    with pytest.raises(UserError, match=r"name their folder with --data toy-data=DIR"):
        here(trial, toys)
