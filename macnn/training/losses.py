"""The two objectives that training alternates between (docs/paper.md, Losses)."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from macnn.config.training import TrainSettings
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


def anchor_loss(attention: Tensor, anchors: Tensor) -> Tensor:
    """Mean squared distance of attention to where it was anchored, as a fraction of the map.

    `Dis` around given points instead of the current peaks, so that a peak cannot wander
    (docs/paper.md, Losses (14)). An anchor outside the map, cropped away by augmentation, costs
    nothing.

    Args:
        attention: (B, N, H, W) maps, each summing to 1.
        anchors: (B, N, 2) points `(x, y)` in fractions of the map.
    """
    height, width = attention.shape[-2:]
    columns = torch.arange(width, device=attention.device)
    rows = torch.arange(height, device=attention.device)
    x, y = (anchors * anchors.new_tensor((width, height)) - 0.5).unbind(dim=-1)  # in cells
    across = (columns - x[..., None]).square()  # (B, N, W)
    down = (rows - y[..., None]).square()  # (B, N, H)
    squared = (attention.sum(dim=2) * across).sum(-1) + (attention.sum(dim=3) * down).sum(-1)
    inside = ((anchors >= 0) & (anchors <= 1)).all(dim=-1)
    return (squared * inside).mean() / max(height, width) ** 2


def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """L_cls: cross-entropy of logits (B, N, classes), summed over parts, averaged over images."""
    parts = logits.shape[1]
    return F.cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(parts)) * parts
