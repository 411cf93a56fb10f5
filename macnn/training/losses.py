"""The two objectives that training alternates between (docs/paper.md, Losses)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from macnn import defaults
from macnn.errors import UsageError
from macnn_kernels import grouping_loss


class GroupingLoss(nn.Module):
    """L_cng = sum_i w Dis(M_i) + lambda Div(M_i), averaged over images.

    `forward` takes attention maps (B, N, H, W), each summing to 1, and gives a scalar. Dis keeps
    every map compact, Div keeps the maps apart (docs/paper.md, Losses).
    """

    def __init__(
        self,
        margin: float = defaults.MARGIN,
        diversity: float = defaults.DIVERSITY_WEIGHT,
        distance: float = defaults.DISTANCE_WEIGHT,
        unit: defaults.DistanceUnit = defaults.DISTANCE_UNIT,
    ) -> None:
        """Choose the weights.

        Args:
            margin: of Div.
            diversity: lambda, the weight of Div.
            distance: w, the weight of Dis.
            unit: of length in Dis: "cell", or "map", the longer side of the map, so that the two
                terms are of one size on every map.
        """
        super().__init__()
        self.margin, self.diversity, self.distance, self.unit = margin, diversity, distance, unit

    def forward(self, attention: Tensor) -> Tensor:
        """The loss of maps."""
        distance, diversity = self.terms(attention)
        return self.distance * distance + self.diversity * diversity

    def terms(self, attention: Tensor) -> tuple[Tensor, Tensor]:
        """Dis and Div of maps before they are weighed: scalars, summed over parts."""
        loss = grouping_loss(attention, margin=self.margin)
        unit = max(attention.shape[-2:]) if self.unit == "map" else 1
        distance = loss.distance.sum(dim=1).mean() / unit**2
        return distance, loss.diversity.sum(dim=1).mean()


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


def part_classification_loss(
    classifier_logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """L_cls: cross-entropy of every classifier, summed over them, averaged over images.

    Args:
        classifier_logits: (B, M, K), one row for each classifier.
        labels: (B,) int64 in [0, K).
        label_smoothing: share of every label that is spread over all classes.

    Raises:
        UsageError: a `ValueError`; shapes that do not match, or, where looking does not wait for a
            device, a label out of range.
    """
    parts, classes = classifier_logits.shape[1:]
    if labels.shape != classifier_logits.shape[:1] or labels.dtype != torch.int64:
        raise UsageError(
            f"`labels`: {labels.dtype} of shape {tuple(labels.shape)}, expected torch.int64 of "
            f"shape ({len(classifier_logits)},)"
        )
    if labels.device.type == "cpu" and not ((labels >= 0) & (labels < classes)).all():
        found = f"{int(labels.min())} to {int(labels.max())}"
        raise UsageError(f"`labels`: {found}, expected 0 to {classes - 1} for {classes} classes")
    each = labels.repeat_interleave(parts)
    loss = F.cross_entropy(classifier_logits.flatten(0, 1), each, label_smoothing=label_smoothing)
    return loss * parts
