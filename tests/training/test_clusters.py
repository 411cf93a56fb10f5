import re

import pytest
import torch
from torch.testing import assert_close

from macnn.errors import DataError
from macnn.training.clusters import (
    ChannelGroups,
    distances,
    group_channels,
    silhouette,
    trim,
    weakness,
)
from macnn_kernels import cluster_channels

ALIVE = torch.zeros(9)


def group(gram, dead_share, parts, *, restarts=64, keep=0.5):
    return group_channels(gram, dead_share, parts, restarts=restarts, keep=keep, seed=0)


@pytest.fixture
def trajectories():
    """Nine channels over 20 images: three near each of two spots, and three that wander."""
    draw = torch.Generator().manual_seed(0)
    spots = torch.randint(28, (2, 40), generator=draw)
    near = spots.repeat_interleave(3, dim=0) + torch.randint(2, (6, 40), generator=draw)
    return torch.cat((near, torch.randint(28, (3, 40), generator=draw)))


def test_distances_are_those_to_the_mean_trajectories(trajectories):
    labels = torch.tensor([0, 0, 0, 1, 1, 1, -1, -1, -1])
    points = trajectories.double()
    means = torch.stack([points[labels == k].mean(dim=0) for k in range(2)])
    expected = (points[:, None] - means).square().sum(dim=2)
    assert_close(distances(trajectories @ trajectories.T, labels), expected)


def test_channels_that_wander_belong_to_no_part(trajectories):
    groups = group(trajectories @ trajectories.T, ALIVE, 2, keep=0.6)
    assert set(groups.labels[:3].tolist()) | set(groups.labels[3:6].tolist()) == {0, 1}
    assert (groups.labels[6:] == -1).all()
    assert groups.spread < 0.05


def test_every_part_keeps_its_share(trajectories):
    gram = trajectories @ trajectories.T
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 0, 1, 1])
    trimmed = trim(gram, labels, keep=0.5)
    nearest = distances(gram, trimmed).argmin(dim=1)
    for group in range(2):
        assert (trimmed == group).sum() == -(-int((nearest == group).sum()) // 2)


def test_keeping_all_is_plain_clustering(trajectories):
    gram = trajectories @ trajectories.T
    groups = group(gram, ALIVE, 2, keep=1)
    plain = cluster_channels(gram, 2, seed=0)
    assert torch.equal(groups.labels, plain.labels)
    assert groups.inertia == pytest.approx(plain.inertia.item(), rel=1e-9)


def test_a_dead_channel_belongs_to_no_part(trajectories):
    dead_share = ALIVE.clone()
    dead_share[[0, 3]] = torch.tensor([1.0, 0.51])
    dead_share[4] = 0.5
    gram = trajectories @ trajectories.T
    groups = group(gram, dead_share, 2, keep=1 - 1e-9)
    assert (groups.labels < 0).nonzero().flatten().tolist() == [0, 3]


def test_too_few_living_channels_are_refused(trajectories):
    gram, dead_share = trajectories @ trajectories.T, torch.ones(9)
    dead_share[0] = 0
    with pytest.raises(DataError, match="only 1 of 9 channels respond in half of the images"):
        group(gram, dead_share, 2)


def test_peaks_that_cannot_be_counted_exactly_are_refused(trajectories):
    gram = trajectories @ trajectories.T
    largest = int(gram.diagonal().max())
    bound = 2**61 // (9 * 256)
    group(gram * (bound // largest // 2), ALIVE, 2)
    with pytest.raises(DataError, match=r"peaks of 9 channels add up.*`data\.image_size`"):
        group(gram * (bound // largest + 1), ALIVE, 2)


def test_the_silhouette_is_largest_at_the_true_number_of_groups():
    generator = torch.Generator().manual_seed(0)
    means = torch.tensor([[0, 0], [90, 0], [0, 90]])
    points = means.repeat_interleave(8, 0) + torch.randint(0, 9, (24, 2), generator=generator)
    found = group((points @ points.T).long(), torch.zeros(24), 3, restarts=8)
    assert max(found.silhouettes, key=found.silhouettes.__getitem__) == 3
    assert list(found.silhouettes) == [2, 3, 4, 5, 6, 7, 8]


def test_the_silhouette_of_two_points_each_on_its_mean_is_one():
    points = torch.tensor([[0], [0], [6], [6]])
    assert silhouette(points @ points.T, torch.tensor([0, 0, 1, 1])) == pytest.approx(1)
    halfway = torch.tensor([[0], [2], [6], [8]])  # a is 1, b is 7 or 5
    expected = (2 * (6 / 7) + 2 * (4 / 5)) / 4
    assert silhouette(halfway @ halfway.T, torch.tensor([0, 0, 1, 1])) == pytest.approx(expected)


@pytest.mark.parametrize("different", [1, 2])
def test_every_part_has_a_channel_even_where_channels_peak_alike(different):
    trajectories = torch.arange(different).repeat(4)[:, None].expand(-1, 6).contiguous() + 1
    gram, alive = trajectories @ trajectories.T, torch.zeros(len(trajectories))
    groups = group(gram, alive, 3, keep=0.4)
    assert min(groups.sizes) > 0


def test_no_core_is_emptied_by_another_at_the_same_place():
    labels = torch.tensor([0, 0, 1, 1])
    assert torch.equal(trim(torch.ones(4, 4, dtype=torch.int64), labels, keep=0.5), labels)


@pytest.mark.parametrize(
    ("sizes", "spread", "said"),
    [
        ((40, 43, 12, 1), 0.5, "formed by 1 of 96 channels.*`model.map_tap`"),
        ((30, 30, 30, 30), 0.97, r"hardly more compact than all channels together \(97%\)"),
        ((30, 30, 30, 30), 0.8, None),
        ((120,), 1.0, None),  # one part is one group
    ],
)
def test_groups_that_are_none_are_told_with_a_remedy(sizes, spread, said):
    groups = ChannelGroups(torch.zeros(1), sizes, 1.0, spread, {})
    text = weakness(groups)
    assert (text is None) if said is None else re.search(said, text)
