"""Whether the parts stay apart: figures of the attention maps alone."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from macnn import distributed
from macnn.ranges import Count, Figure, Many, Share
from macnn_kernels import channel_peaks, checks, grouping_loss

COLLAPSED = 0.2
"""Mean distance of two parts' peaks, in sides of the map, below which we warn."""


@dataclass(frozen=True)
class AttentionFigures:
    """Means over images; tuples hold one figure per part.

    Attributes:
        images: Number of images.
        distance: Dis in squared cells (docs/paper.md, Losses (12)).
        distance_fraction: Dis in units of the map's longer side, squared.
        diversity: Div, margin included: overlap with the strongest other map, less the margin
            (docs/paper.md, Losses (13)).
        entropy: Entropy of each map, in nats.
        relative_entropy: Entropy as a share of log(H W), that of a uniform map.
        peak_distance: Distance between the peaks of two parts, mean over pairs, in units of the
            map's longer side; None for a single part.
        peak_collision_rate: Share of images in which any two parts peak within one cell of each
            other, diagonals included.

    Raises:
        ValueError: They are not of the same parts.
    """

    images: Count
    distance: Many[Figure]
    distance_fraction: Many[Figure]
    diversity: Many[Figure]
    entropy: Many[Figure]
    relative_entropy: Many[Figure]
    peak_distance: Figure | None
    peak_collision_rate: Share

    def __post_init__(self) -> None:
        named = ("distance", "distance_fraction", "diversity", "entropy", "relative_entropy")
        if len({len(getattr(self, name)) for name in named}) > 1 or not self.distance:
            raise ValueError(f"{', '.join(named)}: not of the same parts")

    def values(self) -> dict[str, float]:
        """The figures to log, by name; `diversity` is a mean over `diversity/part 1` and on."""
        figures: dict[str, float] = {"peak_collision_rate": self.peak_collision_rate}
        if self.peak_distance is not None:
            figures["peak_distance"] = self.peak_distance
        for name in ("distance_fraction", "diversity", "relative_entropy"):
            parts: tuple[float, ...] = getattr(self, name)
            figures[name] = sum(parts) / len(parts)
            figures |= {f"{name}/part {i}": figure for i, figure in enumerate(parts, start=1)}
        return figures


class AttentionMetrics:
    """Accumulates `AttentionFigures` batch by batch, on the device of the maps.

    `update` never waits for the device; `compute` does. `sums` is its whole state:
    float64 (5 N + 3), five figures of every part, two of the image, and the number of images.
    """

    def __init__(self, margin: float = 0.02) -> None:
        """Start empty; `margin` is that of Div, by default the paper's."""
        self.margin = margin
        self.sums: Tensor | None = None

    @torch.no_grad()
    def update(self, attention: Tensor) -> None:
        """Add a batch of maps (B, N, H, W), each summing to 1 over positions.

        Raises:
            ValueError: The number of parts is not that of the batches before.
        """
        checks.rank("attention", attention, "B, N, H, W")
        batch, parts, height, width = attention.shape
        if self.sums is not None:
            known = (len(self.sums) - 3) // 5
            checks.shape("attention", attention, (batch, known, height, width), "N")
        side = max(height, width)
        distance, diversity = grouping_loss(attention, margin=self.margin)
        entropy = torch.special.entr(attention.float()).sum((2, 3))
        relative = entropy / max(math.log(height * width), 1e-12)
        per_part = torch.stack((distance, distance / side**2, diversity, entropy, relative))

        peaks = channel_peaks(attention)
        cells = torch.stack((peaks.x, peaks.y), dim=-1)  # (B, N, 2)
        first, second = torch.triu_indices(parts, parts, offset=1, device=attention.device)
        apart = cells[:, first] - cells[:, second]  # (B, pairs, 2)
        mean_apart = apart.double().norm(dim=-1).sum(1) / max(len(first), 1) / side
        shared = (apart.abs().amax(-1) <= 1).any(1)
        per_image = torch.stack((mean_apart, shared.double(), torch.ones_like(mean_apart)))
        sums = torch.cat((per_part.double().sum(1).flatten(), per_image.sum(1)))
        self.sums = sums if self.sums is None else self.sums + sums

    def compute(self, *, everywhere: bool = True) -> AttentionFigures:
        """Figures of everything seen so far, in all processes or in this one.

        Raises:
            ValueError: Nothing was seen.
        """
        if self.sums is None or self.sums[-1] == 0:
            raise ValueError("no attention maps seen yet")
        sums = (distributed.all_reduce(self.sums) if everywhere else self.sums).cpu()
        images = sums[-1].item()
        figures = (sums[:-3].view(5, -1) / images).tolist()
        peak_distance, peak_collision_rate = (sums[-3:-1] / images).tolist()
        distance, fraction, diversity, entropy, relative = (tuple(row) for row in figures)
        return AttentionFigures(
            images=int(images),
            distance=distance,
            distance_fraction=fraction,
            diversity=diversity,
            entropy=entropy,
            relative_entropy=relative,
            peak_distance=peak_distance if len(distance) > 1 else None,
            peak_collision_rate=peak_collision_rate,
        )


def collapse_warning(figures: AttentionFigures) -> str | None:
    """A sentence with a remedy if the parts are falling onto each other, else None."""
    if figures.peak_distance is None or figures.peak_distance >= COLLAPSED:
        return None
    return (
        f"parts are collapsing: two of them peak {figures.peak_distance:.2f} of the map apart on "
        "average; raise `train.conv_grouping_weight` or `train.anchor_weight`, lower "
        "`train.backbone_lr_scale`, or ask for fewer `model.parts`"
    )
