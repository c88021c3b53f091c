from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from adbench_harness.errors import ContractError, UserError
from adbench_harness.images import decoding, folders, geometry
from adbench_harness.images.inputs import Images, Inputs, checked, prepare
from adbench_harness.planning.samples import listed
from adbench_harness.results.trial import EvaluationSettings
from adbench_harness.types import Archive, Dataset, InputSpec, Sample
from toys import HEIGHT, WIDTH, ToyData, ToyPreprocessor

SPECS = st.builds(
    lambda resize, cut, aspect: InputSpec(resize, None if cut is None else resize - cut, aspect),
    st.integers(24, 96),
    st.one_of(st.none(), st.integers(0, 12)),
    st.sampled_from(["keep", "squash"]),
)
SIZES = st.tuples(st.integers(17, 150), st.integers(17, 150))


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.full((5, 7), 90, np.uint8), (90, 90, 90)),
        (np.full((5, 7, 3), (10, 20, 30), np.uint8), (30, 20, 10)),
        (np.full((5, 7, 4), (10, 20, 30, 40), np.uint8), (30, 20, 10)),
        (np.full((5, 7), 90 * 257, np.uint16), (90, 90, 90)),
    ],
)
def test_decode_makes_rgb_of_whatever_is_there(
    tmp_path: Path, pixels: NDArray[Any], expected: tuple[int, int, int]
) -> None:
    path = tmp_path / "image é.png"
    cv2.imwrite(str(path), pixels)  # OpenCV takes and gives BGR
    image = decoding.decode(path)
    assert image.shape == (5, 7, 3)
    assert image.dtype == np.uint8
    assert (image == expected).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("suffix", [".tiff", ".png"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_extra_image_keeps_its_values_and_the_order_of_its_channels(
    tmp_path: Path, dtype: Any, suffix: str, channels: int
) -> None:
    top = 1000 if dtype != np.uint8 else 255
    values = np.random.default_rng(0).integers(0, top, (5, 7, channels)).astype(dtype)
    path = tmp_path / f"extra{suffix}"
    if suffix == ".tiff":
        kind = {"photometric": "rgb"} if channels > 1 else {}
        alpha = {"extrasamples": ["assocalpha"]} if channels == 4 else {}
        tifffile.imwrite(path, values[:, :, 0] if channels == 1 else values, **kind, **alpha)
    elif dtype in (np.uint8, np.uint16):
        order = [0] if channels == 1 else [2, 1, 0, 3][:channels]  # OpenCV takes BGR
        cv2.imwrite(str(path), values[:, :, order])
    else:
        pytest.skip("a PNG file holds no floats")
    decoded = decoding.extra(path)
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded, values)


def test_negative_and_missing_depths_survive(tmp_path: Path) -> None:
    values = np.array([[[-0.25, 1e-6, 3e5]], [[0, np.nan, 0]]], np.float32)
    tifffile.imwrite(tmp_path / "xyz.tiff", values, photometric="rgb")
    np.testing.assert_array_equal(decoding.extra(tmp_path / "xyz.tiff"), values)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"bad.png' cannot be decoded as an image"):
        decoding.decode(path)
    with pytest.raises(UserError, match=r"bad.png' cannot be decoded as an image"):
        decoding.extra(path)
    with pytest.raises(UserError, match=r"gone.png' cannot be decoded as an image"):
        decoding.decode(tmp_path / "gone.png")


def test_a_cut_off_png_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    cv2.imwrite(str(path), noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"cut.png' cannot be decoded"):
        decoding.decode(path)


def write_mask(path: Path, rows: slice, value: int = 255) -> Path:
    mask = np.zeros((20, 30), np.uint8)
    mask[rows] = value
    cv2.imwrite(str(path), mask)
    return path


def test_masks_are_united_above_the_threshold(tmp_path: Path) -> None:
    masks = (
        write_mask(tmp_path / "a.png", slice(0, 3)),
        write_mask(tmp_path / "b.png", slice(2, 5), value=101),
        write_mask(tmp_path / "c.png", slice(10, 12), value=100),
    )
    sample = Sample(tmp_path / "x.png", "test", 1, masks)
    union = decoding.mask(sample, 100, (20, 30))
    assert union is not None
    assert union[:5].all()
    assert not union[5:].any()


def test_pixel_truth_of_normal_and_unmasked_samples(tmp_path: Path) -> None:
    normal = decoding.mask(Sample(tmp_path, "test", 0), 0, (4, 6))
    assert normal is not None
    assert normal.shape == (4, 6)
    assert not normal.any()
    assert decoding.mask(Sample(tmp_path, "test", 1), 0, (4, 6)) is None
    assert decoding.mask(Sample(tmp_path, "test", None), 0, (4, 6)) is None


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    sample = Sample(tmp_path, "test", 1, (write_mask(tmp_path / "m.png", slice(3)),))
    with pytest.raises(UserError, match=r"m.png': 30 x 20 px, but its image is 20 x 30 px"):
        decoding.mask(sample, 0, (30, 20))
    (tmp_path / "m.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"m.png': nothing readable, but its image is 30 x 20 px"):
        decoding.mask(sample, 0, (20, 30))


# ---------------------------------------------------------------- where data is


def test_locate_prefers_the_named_folder_then_the_data_folder_then_the_cache(
    tmp_path: Path,
) -> None:
    class Plain(ToyData):
        name = "plain"
        build = Dataset.build

    cached = folders.cache_folder() / "data/plain"
    with pytest.raises(UserError, match=r"data set 'plain' is not in .*cache/data/plain; name its"):
        folders.locate(Plain(), None, {})
    for folder in (cached, tmp_path / "all/plain", tmp_path / "own"):
        folder.mkdir(parents=True)
    named = {"plain": str(tmp_path / "own")}
    where = str(tmp_path / "all")
    assert folders.locate(Plain(), where, named) == tmp_path / "own"
    assert folders.locate(Plain(), where, {}) == tmp_path / "all/plain"
    assert folders.locate(Plain(), str(tmp_path), {}) == cached
    shutil.rmtree(cached)


def test_locate_says_how_to_fetch_and_builds_what_can_be_built() -> None:
    class Fetchable(ToyData):
        name = "fetchable"
        archives = (Archive("https://example.org/a.zip"),)
        build = Dataset.build

    with pytest.raises(UserError, match="or run 'adbench data fetch fetchable'"):
        folders.locate(Fetchable(), None, {})
    root = folders.locate(ToyData(), None, {})
    assert ToyData().categories(root) == ["dark", "light"]


# ---------------------------------------------------------------- fingerprint


@pytest.fixture
def toy_root(tmp_path: Path) -> Path:
    return ToyData().build(tmp_path / "toy")


def dark(root: Path) -> list[Sample]:
    return list(ToyData().samples(root, "dark", 0))


def test_fingerprint_depends_neither_on_the_folder_nor_on_the_order(
    toy_root: Path, tmp_path: Path
) -> None:
    made = folders.fingerprint(toy_root, dark(toy_root))
    moved = tmp_path / "elsewhere/é"
    shutil.copytree(toy_root, moved)
    assert folders.fingerprint(moved, dark(moved)[::-1]) == made
    assert len(made) == 16


def test_fingerprint_changes_with_bytes_names_parts_and_labels(toy_root: Path) -> None:
    samples = dark(toy_root)
    first, masked = samples[0], next(s for s in samples if s.masks)
    altered = [
        [replace(first, split="train"), *samples[1:]],
        [replace(first, label=None), *samples[1:]],
        [replace(first, defect="other"), *samples[1:]],
        [replace(first, group="g"), *samples[1:]],
        samples[1:],
        [replace(s, masks=()) if s is masked else s for s in samples],
    ]
    prints = [folders.fingerprint(toy_root, listed) for listed in (samples, *altered)]
    masked.masks[0].write_bytes(masked.masks[0].read_bytes() + b"\0")
    prints.append(folders.fingerprint(toy_root, samples))
    first.image.write_bytes(first.image.read_bytes() + b"\0")
    prints.append(folders.fingerprint(toy_root, samples))
    renamed = first.image.rename(first.image.with_name("renamed.png"))
    prints.append(folders.fingerprint(toy_root, [replace(first, image=renamed), *samples[1:]]))
    assert len(set(prints)) == len(prints) == 10


# ---------------------------------------------------------------- the protocol's samples


def test_a_split_with_nothing_to_test_is_refused(
    catalogue: Any, toy_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def split(protocol: str) -> list[Sample]:
        return listed(ToyData(), toy_root, "dark", protocol, 0)

    assert {s.split for s in split("classification")} == {"train", "test"}
    assert not any(s.label for s in split("unsupervised") if s.split == "train")
    toys = ToyData
    original = toys.samples

    def altered(change: Callable[[Sample], Sample]) -> None:
        monkeypatch.setattr(toys, "samples", lambda *given: [change(s) for s in original(*given)])

    altered(lambda s: replace(s, group="one"))
    with pytest.raises(UserError, match=r"group 'one' is in t(est and in train|rain and in test)"):
        split("unsupervised")
    altered(lambda s: replace(s, image=toy_root / "same.png"))
    with pytest.raises(UserError, match=r"same.png' is in "):
        split("unsupervised")
    altered(lambda s: replace(s, split="test"))
    with pytest.raises(UserError, match=f"category 'dark': no train image under '{toy_root}'"):
        split("unsupervised")


# ---------------------------------------------------------------- geometry


def blob(size: tuple[int, int], centre: tuple[float, float], spread: float) -> NDArray[np.float32]:
    rows, columns = np.mgrid[: size[0], : size[1]]
    squares = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2
    return np.exp(-squares / (2 * spread**2)).astype(np.float32)


def centroid(values: NDArray[np.float32]) -> tuple[float, float]:
    weights = values.astype(np.float64) - values.min()
    rows, columns = np.mgrid[: values.shape[0], : values.shape[1]]
    return (
        float((rows * weights).sum() / weights.sum()),
        float((columns * weights).sum() / weights.sum()),
    )


@settings(deadline=None, max_examples=80)
@given(SPECS, SIZES, st.floats(0.3, 0.7), st.floats(0.3, 0.7))
@example(InputSpec(256, 224, "keep"), (37, 91), 0.5, 0.5)
@example(InputSpec(64, None, "keep"), (200, 31), 0.4, 0.6)
def test_a_planted_blob_comes_back_to_its_place(
    spec: InputSpec, size: tuple[int, int], down: float, across: float
) -> None:
    top, left, bottom, right = geometry.window(spec, size)
    centre = (top + down * (bottom - top - 1), left + across * (right - left - 1))
    spread = max(1.5, min(bottom - top, right - left) / 20)
    planted = blob(size, centre, spread)
    image = np.repeat((255 * planted).round().astype(np.uint8)[:, :, None], 3, 2)
    pixels = geometry.to_input(image, spec)
    assert pixels.shape == (3, *spec.size)
    assert pixels.dtype == torch.uint8
    found = geometry.from_input(pixels[0].float().numpy(), spec, size)
    assert found.shape == size
    assert found.dtype == np.float32
    # One pixel of the image, or of the input where that is the coarser one.
    coarse = max((bottom - top) / spec.size[0], (right - left) / spec.size[1], 1)
    truth, back = centroid(planted), centroid(found)
    assert max(abs(truth[0] - back[0]), abs(truth[1] - back[1])) <= coarse


@settings(deadline=None)
@given(SPECS, SIZES)
def test_window_lies_in_the_image_and_shows_the_share_that_the_crop_keeps(
    spec: InputSpec, size: tuple[int, int]
) -> None:
    top, left, bottom, right = geometry.window(spec, size)
    assert 0 <= top < bottom <= size[0]
    assert 0 <= left < right <= size[1]
    if spec.crop is None:
        assert (top, left, bottom, right) == (0, 0, *size)
        return
    scaled = geometry.resized(spec, size)
    assert abs((bottom - top) - spec.crop * size[0] / scaled[0]) <= 1
    assert abs((right - left) - spec.crop * size[1] / scaled[1]) <= 1
    # Centred, but for the rounding of an odd remainder.
    assert abs(top - (size[0] - bottom)) <= 1 + size[0] / scaled[0]
    assert abs(left - (size[1] - right)) <= 1 + size[1] / scaled[1]


@settings(deadline=None)
@given(SPECS, SIZES)
def test_a_constant_image_and_a_constant_map_stay_constant(
    spec: InputSpec, size: tuple[int, int]
) -> None:
    image = np.full((*size, 3), (200, 17, 90), np.uint8)
    pixels = geometry.to_input(image, spec)
    assert (pixels == torch.tensor([200, 17, 90], dtype=torch.uint8)[:, None, None]).all()
    found = geometry.from_input(np.full(spec.size, 0.25, np.float32), spec, size)
    assert np.allclose(found, 0.25)


def test_the_input_of_the_same_size_is_the_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    pixels = geometry.to_input(image, InputSpec(32, None))
    assert np.array_equal(pixels.permute(1, 2, 0).numpy(), image)
    cropped = geometry.to_input(image, InputSpec(32, 20))
    assert np.array_equal(cropped.permute(1, 2, 0).numpy(), image[6:26, 6:26])


def test_keep_and_squash_of_an_image_that_is_not_square() -> None:
    assert geometry.resized(InputSpec(100, 80), (50, 75)) == (100, 150)
    assert geometry.resized(InputSpec(100, 80, "squash"), (50, 75)) == (100, 100)
    assert geometry.resized(InputSpec(100, None), (50, 75)) == (100, 100)
    assert geometry.window(InputSpec(100, 80), (50, 75)) == (5, 18, 45, 58)
    assert geometry.window(InputSpec(100, 80, "squash"), (50, 75)) == (5, 8, 45, 68)
    assert geometry.window(InputSpec(100, None), (50, 75)) == (0, 0, 50, 75)


def test_what_the_crop_cut_away_scores_the_minimum_or_is_left_out() -> None:
    spec, size = InputSpec(40, 20), (40, 60)
    scores = np.random.default_rng(0).uniform(3, 4, (20, 20)).astype(np.float32)
    whole = geometry.from_input(scores, spec, size)
    top, left, bottom, right = geometry.window(spec, size)
    assert np.array_equal(whole[top:bottom, left:right], scores)
    outside = np.ones(size, bool)
    outside[top:bottom, left:right] = False
    assert (whole[outside] == scores.min()).all()
    assert np.array_equal(geometry.from_input(scores, spec, size, cropped=True), scores)


@pytest.mark.parametrize("border", ["full", "crop"])
@pytest.mark.parametrize("size", [None, 30, 200])
def test_map_and_mask_meet_at_one_size(border: str, size: int | None) -> None:
    truth = np.zeros((60, 90), bool)
    truth[25:35, 40:50] = True
    hot = np.zeros((32, 32), np.float32)
    spec = InputSpec(40, 32)
    top, left, bottom, right = geometry.window(spec, truth.shape)
    image = np.repeat(truth[:, :, None] * np.uint8(255), 3, 2)
    hot = geometry.to_input(image, spec)[0].float().numpy()
    placed, met = geometry.meet(hot, truth, spec, EvaluationSettings(size, border))
    whole = truth.shape if border == "full" else (bottom - top, right - left)
    scale = 1 if size is None else size / max(whole)
    assert placed.shape == met.shape == tuple(round(side * scale) for side in whole)
    assert met.dtype == np.bool_
    assert placed.dtype == np.float32
    inside = top <= 25 and bottom >= 35 and left <= 40 and right >= 50
    assert inside
    assert met.sum() == pytest.approx(100 * scale**2, rel=0.35)
    # The map is hot where the mask is: nothing was shifted or turned.
    assert placed[met].mean() > 10 * placed[~met].mean()
    assert abs(centroid(placed)[0] - centroid(met.astype(np.float32))[0]) <= max(1, scale)
    assert abs(centroid(placed)[1] - centroid(met.astype(np.float32))[1]) <= max(1, scale)


def test_full_size_evaluation_leaves_the_mask_untouched() -> None:
    truth = np.random.default_rng(0).random((45, 31)) < 0.1
    _, met = geometry.meet(
        np.zeros((24, 24), np.float32), truth, InputSpec(32, 24), EvaluationSettings()
    )
    assert np.array_equal(met, truth)


# ---------------------------------------------------------------- a bundle's images


def test_prepare_makes_every_input_of_every_sample(toy_root: Path) -> None:
    samples = dark(toy_root)
    specs = [InputSpec(32, None), InputSpec(40, 32)]
    step = ToyPreprocessor(factor=0.5)
    [made, plain], places = prepare(samples, [step, lambda image: image], specs)
    assert list(places) == list(range(12))
    for spec in specs:
        assert made[spec].sizes.tolist() == [[HEIGHT, WIDTH]] * 12
        assert (made[spec].seconds > 0).all()
        for place, sample in enumerate(samples):
            expected = geometry.to_input(step(decoding.decode(sample.image)), spec)
            assert torch.equal(made[spec].pixels[place], expected)
            unchanged = geometry.to_input(decoding.decode(sample.image), spec)
            assert torch.equal(plain[spec].pixels[place], unchanged)


@pytest.mark.parametrize(
    "broken",
    [
        lambda image: image[:-1],
        lambda image: image.astype(np.float32),
        lambda image: image[..., 0],
        lambda image: None,
    ],
)
def test_a_preprocessor_that_breaks_its_promise(broken: Any) -> None:
    with pytest.raises(ContractError, match=r"a preprocessor made .* of a uint8 \(8, 9, 3\) image"):
        checked(broken, np.zeros((8, 9, 3), np.uint8))


def images(count: int = 7, **keywords: Any) -> Images:
    inputs = Inputs(
        samples=(),
        pixels=torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4),
        sizes=np.full((count, 2), 4, np.int32),
        seconds=np.zeros(count),
    )
    seeds = np.arange(count, dtype=np.int64) * 11
    return Images(inputs, [5, 1, 3, 0], seeds, torch.device("cpu"), **keywords)


def test_batches_hold_the_images_with_their_own_seeds() -> None:
    walked = images()
    assert len(walked) == 4
    batches = list(walked.batches(3))
    assert [walked.indices(batch) for batch in batches] == [[5, 1, 3], [0]]
    assert [batch.handles for batch in walked.batches(3)] == [batch.handles for batch in batches]
    assert [batch.seeds.tolist() for batch in batches] == [[55, 11, 33], [0]]
    first = batches[0].images
    assert first.dtype == torch.float32
    assert torch.allclose(first[:, 0, 0, 0] * 255, torch.tensor([5.0, 1.0, 3.0]))
    assert [len(batch) for batch in walked.batches()] == [4]
    assert batches[0].classes is None
    assert next(images(handles=False).batches()).handles is None
    classes = next(images(classes={5: 1, 1: 0, 3: 2, 0: 0}).batches()).classes
    assert classes is not None
    assert classes.tolist() == [1, 0, 2, 0]


def test_shuffling_draws_from_the_generator_alone() -> None:
    def orders(seed: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(seed)
        return [b.seeds.tolist() for _ in range(3) for b in images().batches(4, generator)]

    assert orders(0) == orders(0)
    assert len(set(map(tuple, orders(0)))) > 1
    assert all(sorted(order) == [0, 11, 33, 55] for order in orders(1))


def test_handles_do_not_tell_the_order() -> None:
    handles = [next(images().batches(4)).handles for _ in range(20)]
    assert len(set(handles)) > 1


def test_batches_can_be_written_into_without_harm() -> None:
    walked = images()
    next(walked.batches()).images.zero_()
    assert next(walked.batches()).images.max() > 0
