import pytest
import torch
from torch.testing import assert_close

from macnn.config.settings import PretrainSettings
from macnn.errors import DataError
from macnn.training.clusters import distances_to_means, group_channels
from macnn_kernels import cluster_channels

ALIVE = torch.zeros(9)


@pytest.fixture
def trajectories():
    """Nine channels over 20 images: three near each of two spots, and three that wander."""
    draw = torch.Generator().manual_seed(0)
    spots = torch.randint(28, (2, 40), generator=draw)
    near = spots.repeat_interleave(3, dim=0) + torch.randint(2, (6, 40), generator=draw)
    return torch.cat((near, torch.randint(28, (3, 40), generator=draw)))


def test_distances_are_those_to_the_mean_trajectory_of_the_own_group(trajectories):
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 0, 1, 1])
    points = trajectories.double()
    means = torch.stack([points[labels == k].mean(dim=0) for k in range(2)])
    expected = (points - means[labels]).square().sum(dim=1)
    assert_close(distances_to_means(trajectories @ trajectories.T, labels), expected)


def test_channels_that_wander_belong_to_no_part(trajectories):
    settings = PretrainSettings(keep=0.6)
    groups = group_channels(trajectories @ trajectories.T, ALIVE, 2, settings, seed=0)
    assert groups.labels.tolist() == [0, 0, 0, 1, 1, 1, -1, -1, -1]
    assert groups.sizes == (3, 3)
    assert groups.spread < 0.05


def test_keeping_all_is_plain_clustering(trajectories):
    gram = trajectories @ trajectories.T
    groups = group_channels(gram, ALIVE, 2, PretrainSettings(keep=1), seed=0)
    plain = cluster_channels(gram, 2, seed=0)
    assert torch.equal(groups.labels, plain.labels)
    assert groups.inertia == plain.inertia.item()


def test_a_dead_channel_belongs_to_no_part(trajectories):
    dead_share = ALIVE.clone()
    dead_share[[0, 3]] = 1.0
    settings = PretrainSettings(keep=0.57)
    groups = group_channels(trajectories @ trajectories.T, dead_share, 2, settings, seed=0)
    assert groups.labels.tolist() == [-1, 0, 0, -1, 1, 1, -1, -1, -1]


def test_too_few_living_channels_are_refused(trajectories):
    with pytest.raises(DataError, match="only 2 of 9 channels respond, too few for 2 parts"):
        group_channels(
            trajectories @ trajectories.T,
            torch.tensor([0.0, 0, 1, 1, 1, 1, 1, 1, 1]),
            2,
            PretrainSettings(keep=0.4),
            seed=0,
        )
