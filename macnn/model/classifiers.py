"""One linear classifier per part (docs/paper.md, Part classification)."""

import math

import torch
from torch import Tensor, nn


class PartClassifiers(nn.Module):
    """N linear classifiers side by side.

    `forward` takes features (B, N, C) and gives logits (B, N, classes).
    """

    def __init__(self, parts: int, channels: int, classes: int, normalised: bool) -> None:
        super().__init__()
        self.normalised = normalised
        bound = 1 / math.sqrt(channels)  # as torch.nn.Linear
        self.weight = nn.Parameter(torch.empty(parts, classes, channels).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(parts, classes))

    def forward(self, features: Tensor) -> Tensor:
        """Classify every part by its own feature."""
        return torch.einsum("bnc,nkc->bnk", self.inputs(features), self.weight) + self.bias

    def inputs(self, features: Tensor) -> Tensor:
        """What is multiplied by the weights."""
        return (
            nn.functional.rms_norm(features, features.shape[-1:]) if self.normalised else features
        )
