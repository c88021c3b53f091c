from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from adbench_harness.basic import mini
from adbench_harness.basic.mini import MiniImage

DIGESTS = {
    "brick": "9168ac115f03f78f4b0f4c63fa1a49f23abf2596493263cc8463fe20afa61efd",
    "capsule": "2062e3c6fbf83b4942e0a0b5cd54a79e181f9be496ebbde2ec7b903c54604592",
    "grass": "f089638c2d8267627f219990f43ca67faaddb18ee3b07666fb0363b5e009c31e",
    "gravel": "01d24483a9ac1a5ab62c8af8b2b5436294207e6b4e0e61a193c0e8d2e2ce6a6f",
    "metal": "3af37bd15f60703cb5d32409ad2b502837bc7f180af29a55dad0af3919097cc9",
}
TEXTURES = ("brick", "grass", "gravel")


@cache
def images(category: str) -> list[MiniImage]:
    return list(mini.generate(category))


def part(item: MiniImage) -> str:
    return item.path.split("/")[0]


@pytest.fixture
def only_metal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini, "CATEGORIES", ("metal",))


@pytest.mark.parametrize("category", mini.CATEGORIES)
def test_same_images_on_every_machine(category: str) -> None:
    digest = hashlib.sha256()
    for item in images(category):
        digest.update(item.path.encode() + item.image.tobytes())
        if item.mask is not None:
            digest.update(item.mask.tobytes())
    assert digest.hexdigest() == DIGESTS[category], "a changed image needs a new mini.VERSION"


@pytest.mark.parametrize("category", mini.CATEGORIES)
def test_counts_and_order(category: str) -> None:
    folders = Counter(item.path.rsplit("/", 1)[0] for item in images(category))
    assert list(folders)[:2] == ["train/good", "test/good"]
    assert folders.pop("train/good") == 48
    assert folders.pop("test/good") == 20
    assert all(folder.startswith("test/") for folder in folders)
    expected = {"capsule": (5, 7), "metal": (2, 16)}.get(category, (4, 8))
    assert (len(folders), *set(folders.values())) == expected
    assert len({item.path for item in images(category)}) == len(images(category))


@pytest.mark.parametrize("category", mini.CATEGORIES)
def test_masks_hold_what_the_defect_changed(category: str) -> None:
    for item in images(category):
        assert item.image.shape == item.clean.shape == (mini.SIZE, mini.SIZE, 3)
        assert item.image.dtype == item.clean.dtype == np.uint8
        change = np.abs(item.image.astype(int) - item.clean).max(axis=2)
        if "/good/" in item.path:
            assert item.mask is None
            assert not change.any()
            continue
        assert item.mask is not None
        assert item.mask.dtype == np.uint8
        assert set(np.unique(item.mask)) == {0, 255}
        assert 20 <= (item.mask > 0).sum() < 0.1 * item.mask.size, item.path
        assert not change[item.mask == 0].any()
        assert change[item.mask > 0].mean() > 5, item.path
        assert item.mask_path.startswith("ground_truth/")


@pytest.mark.parametrize("category", TEXTURES)
def test_train_and_test_share_no_pixel_of_the_photograph(
    category: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = 255 * np.arange(512 * 512).reshape(512, 512)
    monkeypatch.setattr(mini, "_photo", lambda name: places)
    monkeypatch.setattr(mini, "_lights", lambda draws, index: lambda scene: scene)
    seen: dict[str, list[NDArray[np.int64]]] = {"train": [], "test": []}
    for item in mini.generate(category):
        seen[part(item)].append(item.clean[..., 0].astype(np.int64))
    train, test = (np.unique(np.stack(seen[name])) for name in ("train", "test"))
    assert len(train) > mini.SIZE**2
    assert not np.intersect1d(train, test).size


@pytest.mark.parametrize("category", mini.CATEGORIES)
@pytest.mark.parametrize("statistic", [np.mean, np.var])
def test_brightness_and_contrast_do_not_tell_defects(
    category: str, statistic: Callable[..., float]
) -> None:
    train = [statistic(item.image) for item in images(category) if part(item) == "train"]
    test = [item for item in images(category) if part(item) == "test"]
    labels = [item.mask is not None for item in test]
    values = np.array([statistic(item.image) for item in test])
    for scores in (values, -values, np.abs(values - np.mean(train))):
        assert roc_auc_score(labels, scores) < 0.75


def test_background_of_the_capsule_is_light_and_the_capsule_is_not() -> None:
    for item in images("capsule"):
        light = (item.clean >= 150).all(axis=2)
        assert light[:24].all()
        assert light[-24:].all()
        assert not light[84:108, 76:116].any()


def test_dust_differs_from_image_to_image() -> None:
    corners = {item.image[:24].tobytes() for item in images("capsule")}
    assert len(corners) == len(images("capsule"))


@pytest.mark.parametrize("category", ["brick", "metal"])
def test_build_writes_what_generate_yields(
    category: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mini, "CATEGORIES", (category,))
    home = mini.build(tmp_path / "cache")
    expected = set()
    for item in images(category):
        path = home / category / item.path
        expected.add(path)
        np.testing.assert_array_equal(cv2.imread(str(path))[..., ::-1], item.image)
        if item.mask is not None:
            path = home / category / item.mask_path
            expected.add(path)
            np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), item.mask)
    assert {path for path in home.rglob("*") if path.is_file()} == expected
    assert list((tmp_path / "cache").iterdir()) == [home]


@pytest.mark.usefixtures("only_metal")
def test_build_draws_once_a_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = mini.build(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(mini, "generate", lambda category: pytest.fail("drawn again"))
        assert mini.build(tmp_path) == home
    monkeypatch.setattr(mini, "VERSION", mini.VERSION + 1)
    assert mini.build(tmp_path) != home
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.usefixtures("only_metal")
def test_an_interrupted_build_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(category: str) -> Iterator[MiniImage]:
        yield from images(category)[:10]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mini, "generate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mini.build(tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / ".building-killed" / "1" / "metal").mkdir(parents=True)
    home = mini.build(tmp_path)
    assert list(tmp_path.iterdir()) == [home], "what a killed process left is removed"
    assert len(list(home.rglob("test/**/*.png"))) == 52


@pytest.mark.usefixtures("only_metal")
def test_a_faster_process_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def overtaken(category: str) -> Iterator[MiniImage]:
        yield from images(category)
        (tmp_path / str(mini.VERSION) / "theirs").mkdir(parents=True)

    monkeypatch.setattr(mini, "generate", overtaken)
    home = mini.build(tmp_path)
    assert [path.name for path in home.iterdir()] == ["theirs"]
    assert list(tmp_path.iterdir()) == [home]


def test_processes_may_build_at_the_same_time(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from adbench_harness.basic import mini;"
        "mini.CATEGORIES = ('metal',); print(mini.build(Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    builds = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    homes = {build.communicate(timeout=60)[0].strip() for build in builds}
    assert [build.returncode for build in builds] == [0, 0, 0]
    assert homes == {str(tmp_path / str(mini.VERSION))}
    assert len(list(tmp_path.rglob("*.png"))) == 48 + 20 + 2 * 32


def test_build_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        mini.build(tmp_path / "file")
