from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adbench_harness.nn import coreset
from adbench_harness.nn.coreset import greedy_coreset
from adbench_harness.running import cost


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def textbook(points: torch.Tensor, start: int, count: int) -> list[int]:
    """Greedy k-centre in float64; a picked point, even of duplicates, is not picked again."""
    points = points.double()
    distances = torch.full((len(points),), torch.inf, dtype=torch.float64)
    picks = [start]
    while len(picks) < count:
        to_last = (points - points[picks[-1]]).square().sum(1)
        distances = torch.minimum(distances, to_last)
        distances[picks] = -torch.inf
        picks.append(int(distances.argmax()))
    return picks


@settings(deadline=None, max_examples=50)
@given(
    total=st.integers(2, 300),
    width=st.integers(1, 6),
    pool=st.sampled_from([1, 3, 20, 4096]),
    seed=st.integers(0, 2**31),
    data=st.data(),
)
def test_each_pick_is_the_farthest_point(
    total: int, width: int, pool: int, seed: int, data: st.DataObject
) -> None:
    features = 30 + torch.randn(total, width, generator=seeded(seed))
    count = data.draw(st.integers(1, total - 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coreset, "POOL", pool)
        patch.setattr(coreset, "BLOCK", data.draw(st.sampled_from([17, 1024])))
        patch.setattr(coreset, "CELL", data.draw(st.sampled_from([5, 40, 600])))
        picks = greedy_coreset(features, count, seeded(seed), projection=None)
    points = features.double() - features.double().mean(0)
    distances = (points[:, None] - points[picks]).square().sum(2).cummin(1).values[:, :-1]
    rounding = 1e-6 * points.square().sum(1).max()
    picked = distances[picks[1:]].diagonal()
    assert (picked >= distances.amax(0) - rounding).all()


@pytest.mark.parametrize("projection", [None, 16])
def test_exact_picks_with_projection_from_the_same_start(projection: int | None) -> None:
    features = torch.randn(3000, 40, generator=seeded(1)).exp() + 50
    generator = seeded()
    start = int(torch.randint(len(features), (1,), generator=generator))
    points = coreset._project(features, projection, generator)
    picks = greedy_coreset(features, 400, seeded(), projection)
    assert picks.dtype == torch.int64
    assert picks.tolist() == textbook(points, start, 400)


def test_picks_in_batches_are_the_textbook_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coreset, "POOL", 200)
    features = torch.randn(5000, 8, generator=seeded(1))
    batches: list[tuple[int, int]] = []
    picks = greedy_coreset(
        features, 500, seeded(), progress=lambda done, total: batches.append((done, total))
    )
    assert picks.tolist() == textbook(features, int(picks[0]), 500)
    assert batches == sorted(set(batches))
    assert batches[-1] == (500, 500)
    assert len(batches) < 60


def near_plane(total: int, width: int = 40) -> torch.Tensor:
    """Points near a plane of 4 dimensions: few of the dimensions count, as for real patches."""
    draw = seeded(2)
    plane = torch.randn(total, 4, generator=draw) @ torch.randn(4, width, generator=draw)
    return 30 + plane + 0.02 * torch.randn(total, width, generator=draw)


@pytest.mark.parametrize("share", [0.01, 0.1])
def test_covering_radius_at_every_pick_where_far_groups_are_left_out(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_out = []

    def near(self: Any, chosen: torch.Tensor) -> Any:
        found = real(self, chosen)
        left_out.append(1 - sum(map(len, found)) / (len(found) * len(chosen)))
        return found

    real = coreset._Cover._near
    monkeypatch.setattr(coreset._Cover, "_near", near)
    monkeypatch.setattr(coreset, "CELL", 300)
    features = near_plane(20_000)
    picks = greedy_coreset(features, int(share * len(features)), seeded(), projection=None)
    assert left_out[-1] > 0.5
    points = features.double() - features.double().mean(0)
    radius = torch.zeros(len(picks), dtype=torch.float64)  # after each pick
    for block in points.split(1000):
        radius = torch.maximum(radius, torch.cdist(block, points[picks]).cummin(1).values.amax(0))
    own = torch.cdist(points[picks], points[picks]).cummin(1).values.diagonal(-1)
    torch.testing.assert_close(own, radius[:-1], rtol=1e-5, atol=0)


def test_memory_is_the_projected_features_and_little_more() -> None:
    features = torch.randn(60_000, 768, generator=seeded())
    greedy_coreset(features[:5000], 100, seeded())  # what libraries keep for themselves
    with cost.Memory(features.device).watch() as peak:
        greedy_coreset(features, 600, seeded())
    assert peak() < 60_000 * 128 * 4 / 2**20 + 55 < features.nbytes / 2**20 / 2


def test_projection_keeps_distances() -> None:
    points = torch.randn(50, 600, generator=seeded(1))
    ratio = torch.pdist(coreset._project(points, 128, seeded())) / torch.pdist(points)
    assert abs(ratio.mean() - 1) < 0.03
    assert ratio.std() < 0.1


def test_every_pick_is_new_among_duplicates() -> None:
    features = torch.randn(5, 3, generator=seeded(1)).repeat(40, 1)
    picks = greedy_coreset(features, 150, seeded())
    assert len(set(picks.tolist())) == 150
    assert len(torch.unique(features[picks[:5]], dim=0)) == 5


def test_same_for_the_same_seed_only() -> None:
    features = torch.randn(2000, 200, generator=seeded(1))
    first = greedy_coreset(features, 50, seeded(3))
    torch.testing.assert_close(greedy_coreset(features, 50, seeded(3)), first)
    assert greedy_coreset(features, 50, seeded(4)).tolist() != first.tolist()


def test_same_for_any_number_of_threads() -> None:
    features = torch.randn(4000, 200, generator=seeded(1))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = greedy_coreset(features, 300, seeded())
        torch.set_num_threads(3)
        torch.testing.assert_close(greedy_coreset(features, 300, seeded()), alone)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("count", [7, 8])
def test_takes_all_points_where_the_count_allows(count: int) -> None:
    assert greedy_coreset(torch.randn(7, 3), count, seeded()).tolist() == list(range(7))


def test_refuses_a_count_below_1() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        greedy_coreset(torch.randn(7, 3), 0, seeded())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_same_on_the_gpu() -> None:
    features = torch.randn(6000, 40, generator=seeded(1))
    expected = greedy_coreset(features, 500, seeded())
    torch.testing.assert_close(greedy_coreset(features.cuda(), 500, seeded()).cpu(), expected)
