import json
import math
from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from macnn.evaluation.attention_metrics import AttentionMetrics, collapse_warning


def peaked(*cells: tuple[int, int], height: int = 4, width: int = 8) -> torch.Tensor:
    """One image whose maps are each a single cell (x, y)."""
    maps = torch.zeros(1, len(cells), height, width)
    for part, (x, y) in enumerate(cells):
        maps[0, part, y, x] = 1
    return maps


def figures(*batches: torch.Tensor):
    attention_metrics = AttentionMetrics()
    for batch in batches:
        attention_metrics.update(batch)
    return attention_metrics.compute()


def random_maps(images: int, parts: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(images, parts, 30, generator=generator)
    return logits.softmax(-1).reshape(images, parts, 5, 6)


def test_single_cells_are_compact_sharp_and_as_far_apart_as_their_peaks():
    found = figures(peaked((0, 0), (3, 0), (0, 3)))
    assert found.distance == (0, 0, 0)
    assert found.entropy == (0, 0, 0)
    assert found.diversity == pytest.approx((-0.02, -0.02, -0.02))
    assert found.peak_distance == pytest.approx((3 + 3 + math.sqrt(18)) / 3 / 8)
    assert found.peak_collision_rate == 0


def test_uniform_maps_have_full_entropy_and_overlap():
    found = figures(torch.full((2, 2, 4, 8), 1 / 32))
    assert found.entropy == pytest.approx((math.log(32),) * 2)
    assert found.relative_entropy == pytest.approx((1, 1))
    assert found.diversity == pytest.approx((1 / 32 - 0.02,) * 2)
    assert found.peak_collision_rate == 1


def test_distance_is_reported_in_squared_cells_and_in_squared_map_sides():
    maps = peaked((0, 0))
    maps[0, 0, 0, 0], maps[0, 0, 0, 4] = 0.75, 0.25
    found = figures(maps)
    assert found.distance == pytest.approx((4,))
    assert found.distance_fraction == pytest.approx((4 / 64,))


@pytest.mark.parametrize(
    ("cell", "share"), [((2, 1), 1), ((3, 2), 1), ((3, 1), 1), ((4, 1), 0), ((2, 3), 0)]
)
def test_neighbouring_cells_count_as_one_place(cell, share):
    assert figures(peaked((2, 1), cell)).peak_collision_rate == share


def test_peak_collision_rate_counts_images_not_pairs():
    apart, merged = peaked((0, 0), (4, 0), (0, 3)), peaked((1, 1), (1, 1), (1, 1))
    assert figures(torch.cat((apart, merged, apart, apart))).peak_collision_rate == 0.25


def test_a_single_part_has_no_pairs():
    found = figures(peaked((1, 1)))
    assert (found.peak_distance, found.peak_collision_rate) == (None, 0)
    assert "peak_distance" not in found.values()


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(0, 2**31))
def test_batches_add_up(split, seed):
    maps = random_maps(6, 3, seed)
    whole, pieces = figures(maps), figures(maps[:split], maps[split:])
    assert pieces.images == whole.images
    assert pieces.values() == pytest.approx(whole.values(), rel=1e-5, abs=1e-7)


@settings(deadline=None)
@given(st.permutations(range(4)), st.integers(0, 2**31))
def test_permuting_parts_permutes_their_figures_only(order, seed):
    maps = random_maps(3, 4, seed)
    before, after = figures(maps), figures(maps[:, list(order)])
    for name in ("distance", "diversity", "entropy"):
        assert getattr(after, name) == pytest.approx([getattr(before, name)[i] for i in order])
    assert after.peak_distance == pytest.approx(before.peak_distance)
    assert after.peak_collision_rate == before.peak_collision_rate


def test_figures_carry_no_gradient():
    attention_metrics = AttentionMetrics()
    attention_metrics.update(random_maps(2, 2, 0).requires_grad_())
    attention_metrics.compute()


def test_figures_survive_json_and_log_flat():
    found = figures(random_maps(2, 2, 0))
    assert json.loads(json.dumps(asdict(found)))["images"] == 2
    assert found.values()["diversity"] == pytest.approx(sum(found.diversity) / 2)
    assert found.values()["diversity/part 2"] == found.diversity[1]


def test_collapse_is_warned_of_with_a_remedy():
    assert collapse_warning(figures(peaked((0, 0), (7, 3)))) is None
    merged = figures(peaked((0, 0), (1, 1)))
    assert "0.18 of the map apart" in collapse_warning(merged)
    assert "`train.anchor_weight`" in collapse_warning(merged)
    assert collapse_warning(replace(merged, peak_distance=0.3)) is None
    assert collapse_warning(replace(merged, peak_distance=None)) is None


def test_nothing_seen_has_no_figures():
    with pytest.raises(ValueError, match="no attention maps"):
        AttentionMetrics().compute()


def test_the_number_of_parts_cannot_change():
    attention_metrics = AttentionMetrics()
    attention_metrics.update(random_maps(2, 2, 0))
    with pytest.raises(ValueError, match="attention"):
        attention_metrics.update(random_maps(2, 3, 0))
