from __future__ import annotations

import numpy as np
import skimage.data
import torch
from skimage.segmentation import slic

from adbench_harness.nn.superpixels import superpixels


def test_labels_are_those_of_slic_with_the_papers_parameters():
    photograph = skimage.data.astronaut()[::4, ::4]
    images = torch.from_numpy(np.stack([photograph, 255 - photograph])).permute(0, 3, 1, 2)
    found = superpixels(images, [30, 250])
    assert found.shape == (2, 128, 128)
    assert found.dtype == torch.int16
    for labels, image, count in zip(found, images, (30, 250), strict=True):
        pixels = image.permute(1, 2, 0).numpy()
        expected = slic(pixels, n_segments=count, compactness=8, sigma=1)
        np.testing.assert_array_equal(labels, expected - 1)


def test_a_superpixel_is_one_piece_and_numbers_have_no_gaps():
    photograph = torch.from_numpy(skimage.data.astronaut()[::8, ::8].copy()).permute(2, 0, 1)
    (labels,) = superpixels(photograph[None], [40])
    assert labels.unique().tolist() == list(range(int(labels.max()) + 1))
    assert 10 < len(labels.unique()) < 80
