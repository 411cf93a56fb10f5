"""Linear classifiers side by side (docs/paper.md, Part classification)."""

import math

import torch
from torch import Tensor, nn


class PartClassifiers(nn.Module):
    """M linear classifiers, each with an input of its own.

    `forward` takes features (B, M, C) and gives logits (B, M, classes).
    """

    def __init__(self, count: int, channels: int, classes: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(channels)  # as torch.nn.Linear
        self.weight = nn.Parameter(torch.empty(count, classes, channels).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(count, classes))

    def forward(self, features: Tensor) -> Tensor:
        """Classify by every feature."""
        return torch.einsum("bnc,nkc->bnk", features, self.weight) + self.bias


def normalised(features: Tensor) -> Tensor:
    """Features (..., C) scaled to unit root mean square, so that none outweighs another."""
    return nn.functional.rms_norm(features, features.shape[-1:])
