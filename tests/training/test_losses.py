import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from macnn.training.losses import GroupingLoss, anchor_loss, part_classification_loss


@pytest.fixture
def maps():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(3, 2, 4, 6, generator=generator).flatten(2).softmax(2).unflatten(2, (4, 6))


def test_classification_loss_sums_over_parts_and_averages_over_images():
    logits, labels = torch.randn(5, 3, 4), torch.tensor([0, 1, 2, 3, 0])
    expected = sum(F.cross_entropy(logits[:, part], labels) for part in range(3))
    assert_close(part_classification_loss(logits, labels), expected)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 4]), "`labels`: 0 to 4, expected 0 to 3 for 4 classes"),
        (torch.tensor([-1, 0]), "`labels`: -1 to 0, expected 0 to 3"),
        (torch.tensor([0, 1, 2]), r"`labels`: .* of shape \(3,\), expected torch.int64 of shape"),
        (torch.tensor([0.0, 1.0]), "`labels`: torch.float32"),
    ],
)
def test_labels_that_do_not_match_the_logits_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        part_classification_loss(torch.zeros(2, 3, 4), labels)


def test_the_grouping_loss_weighs_its_terms(maps):
    loss = GroupingLoss(distance=3, diversity=5)
    distance, diversity = loss.terms(maps)
    assert_close(loss(maps), 3 * distance + 5 * diversity)


def test_distance_in_cells_is_that_in_maps_times_the_squared_longer_side(maps):
    cells, share = (GroupingLoss(unit=unit).terms(maps)[0] for unit in ("cell", "map"))
    assert_close(cells, share * 36)


def test_identical_maps_are_as_diverse_as_their_square(maps):
    one = maps[:, :1].repeat(1, 2, 1, 1)
    expected = 2 * (one[:, 0].square().sum(dim=(1, 2)).mean() - 0.02)
    assert_close(GroupingLoss(margin=0.02).terms(one)[1], expected)


def test_anchored_at_its_own_peaks_a_map_has_its_own_distance(maps):
    cells = maps.flatten(2).argmax(dim=2)
    peaks = torch.stack(((cells % 6 + 0.5) / 6, (cells // 6 + 0.5) / 4), dim=2)
    share = GroupingLoss(unit="map").terms(maps)[0]
    assert_close(anchor_loss(maps, peaks) * 2, share)  # a mean over parts, not a sum


def test_an_anchor_pulls_a_map_towards_itself(maps):
    scores = maps.log().requires_grad_()
    anchors = torch.full((3, 2, 2), 0.01)  # the first cell
    anchor_loss(scores.flatten(2).softmax(2).unflatten(2, (4, 6)), anchors).backward()
    assert (scores.grad[:, :, 0, 0] < 0).all()
    assert (scores.grad[:, :, 3, 5] > 0).all()


def test_an_anchor_outside_the_view_costs_nothing(maps):
    anchors = torch.full((3, 2, 2), 0.5)
    expected = anchor_loss(maps[:1], anchors[:1]) / 3
    anchors[1:] = torch.tensor([0.5, 1.2])
    assert_close(anchor_loss(maps, anchors), expected)
    assert anchor_loss(maps, torch.full((3, 2, 2), -1.0)) == 0
