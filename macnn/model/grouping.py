"""The N networks d_i = f_i(F) (docs/paper.md, Channel-grouping layers)."""

import math

import torch
from torch import Tensor, nn

from macnn_kernels import channel_grouping


class ChannelGrouping(nn.Module):
    """N pairs of fully-connected layers, from pooled features to channel weights in (0, 1).

    `forward` takes pooled features (B, C) and gives weights (B, N, C).
    """

    def __init__(self, parts: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.w1 = nn.Parameter(torch.empty(parts, hidden, channels))
        self.b1 = nn.Parameter(torch.empty(parts, hidden))
        self.w2 = nn.Parameter(torch.empty(parts, channels, hidden))
        self.b2 = nn.Parameter(torch.empty(parts, channels))
        for weight, bias in ((self.w1, self.b1), (self.w2, self.b2)):
            bound = 1 / math.sqrt(weight.shape[2])  # as torch.nn.Linear
            nn.init.uniform_(weight, -bound, bound)
            nn.init.uniform_(bias, -bound, bound)

    def forward(self, pooled: Tensor) -> Tensor:
        """Compute the channel weights of every part."""
        return channel_grouping(pooled, self.w1, self.b1, self.w2, self.b2)
