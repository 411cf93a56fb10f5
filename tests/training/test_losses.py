import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from macnn.config.settings import TrainSettings
from macnn.training.losses import classification_loss, grouping_objective


@pytest.fixture
def maps():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(3, 2, 4, 6, generator=generator).flatten(2).softmax(2).unflatten(2, (4, 6))


def test_classification_loss_sums_over_parts_and_averages_over_images():
    logits, labels = torch.randn(5, 3, 4), torch.tensor([0, 1, 2, 3, 0])
    expected = sum(F.cross_entropy(logits[:, part], labels) for part in range(3))
    assert_close(classification_loss(logits, labels), expected)


def test_grouping_objective_weighs_its_terms(maps):
    settings = TrainSettings(distance_weight=3, diversity_weight=5)
    total, distance, diversity = grouping_objective(maps, settings)
    assert_close(total, 3 * distance + 5 * diversity)


def test_distance_in_cells_is_that_in_maps_times_the_squared_longer_side(maps):
    cells = grouping_objective(maps, TrainSettings(distance_unit="cell")).distance
    share = grouping_objective(maps, TrainSettings(distance_unit="map")).distance
    assert_close(cells, share * 36)


def test_identical_maps_are_as_diverse_as_their_square(maps):
    one = maps[:, :1].repeat(1, 2, 1, 1)
    expected = 2 * (one[:, 0].square().sum(dim=(1, 2)).mean() - 0.02)
    assert_close(grouping_objective(one, TrainSettings()).diversity, expected)
