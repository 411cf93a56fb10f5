"""The two objectives that training alternates between (PAPER.md 6)."""

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F

from macnn.config.settings import TrainSettings
from macnn_kernels import grouping_loss


class GroupingObjective(NamedTuple):
    """L_cng and its two terms, each a scalar: summed over parts, averaged over images."""

    total: Tensor
    distance: Tensor
    diversity: Tensor


def grouping_objective(attention: Tensor, settings: TrainSettings) -> GroupingObjective:
    """L_cng = sum_i w Dis(M_i) + lambda Div(M_i) of attention maps (B, N, H, W).

    `Dis` is in squared cells, or with `distance_unit` = "map" as a fraction of the squared longer
    side of the map, so that the two terms are of one size on every map.
    """
    loss = grouping_loss(attention, margin=settings.margin)
    unit = max(attention.shape[-2:]) if settings.distance_unit == "map" else 1
    distance = loss.distance.sum(dim=1).mean() / unit**2
    diversity = loss.diversity.sum(dim=1).mean()
    total = settings.distance_weight * distance + settings.diversity_weight * diversity
    return GroupingObjective(total, distance, diversity)


def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """L_cls: cross-entropy of logits (B, N, classes), summed over parts, averaged over images."""
    parts = logits.shape[1]
    flat = logits.flatten(0, 1)
    return F.cross_entropy(flat, labels.repeat_interleave(parts)) * parts
