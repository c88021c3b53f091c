from __future__ import annotations

import numpy as np
import pytest

import miniatures
from adbench_harness.basic.datasets import MVTec3D
from adbench_harness.datasets.official import SplitCounts
from adbench_harness.errors import UserError
from adbench_harness.images import decoding, verify


def listed(root):
    return MVTec3D().samples(root, "bagel", 0)


def test_an_image_its_points_and_its_mask_are_one_sample(miniature):
    root = miniature("mvtec_3d")
    samples = listed(root)
    places = [s.image.relative_to(root / "bagel").parent.parent.as_posix() for s in samples]
    assert places[::2] == ["train/good", "validation/good", "test/crack", "test/good", "test/hole"]
    for sample in samples:
        home = sample.image.parents[1]
        assert sample.extras == {"xyz": home / "xyz" / f"{sample.image.stem}.tiff"}
        truth = (home / "gt" / sample.image.name,) if home.name != "good" else ()
        assert (sample.masks, sample.label, sample.defect) == (truth, len(truth), home.name)


def test_the_points_are_x_y_z(miniature):
    sample = listed(miniature("mvtec_3d"))[0]
    points = decoding.extra(sample.extras["xyz"])
    y, x = np.mgrid[: miniatures.HEIGHT, : miniatures.WIDTH]
    np.testing.assert_array_equal(points, np.dstack([x, y, np.full(x.shape, 0.5)]))


def test_one_folder_deeper(miniature, tmp_path):
    root = miniature("mvtec_3d")
    root.rename(tmp_path / "deeper")
    assert len(MVTec3D().samples(tmp_path, "bagel", 0)) == 10


@pytest.mark.parametrize("lacking", ["test/crack/xyz/001.tiff", "test/hole/gt/000.png"])
def test_what_is_missing_beside_an_image_is_named(miniature, lacking):
    root = miniature("mvtec_3d")
    (root / "bagel" / lacking).unlink()
    with pytest.raises(UserError, match=rf"{lacking}' is missing; run 'adbench data fetch"):
        listed(root)


def test_a_category_without_test_images_is_refused(tree):
    root = tree("tire/train/good/rgb/000.png", "tire/train/good/xyz/000.tiff")
    with pytest.raises(UserError, match=r"tire': no images in test; expected train/good/rgb"):
        MVTec3D().samples(root, "tire", 0)


def test_points_that_cannot_be_read_are_found_by_verify(miniature):
    root = miniature("mvtec_3d")
    (root / "bagel/train/good/xyz/000.tiff").write_bytes(b"II*\0")
    wrong = verify.category(MVTec3D(), root, "bagel").wrong
    assert [reason for reason in wrong if "xyz/000.tiff' cannot be decoded" in reason]


def test_another_number_of_types_is_no_departure(monkeypatch, miniature):
    samples = listed(miniature("mvtec_3d"))
    official = SplitCounts.of(samples)._replace(defect_types=9)
    monkeypatch.setitem(MVTec3D.official_counts, "bagel", official)
    assert MVTec3D().departure("bagel", samples) is None
    assert MVTec3D().departure("bagel", samples[1:]) is not None
