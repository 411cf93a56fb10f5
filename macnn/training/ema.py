"""Exponential moving average of the weights (EMA)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class ExponentialMovingAverage(AveragedModel):
    """PyTorch's `AveragedModel`, from the first weights on, its decay warmed up.

    Early on the decay is smaller, (1 + t) / (10 + t) after t steps, so that the start is forgotten.
    """

    n_averaged: Tensor

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, multi_avg_fn=self._lerp, use_buffers=True)
        self.decay = decay
        self.continue_at(0)

    def continue_at(self, step: int) -> None:
        """Go on after optimiser step `step`."""
        self.n_averaged.fill_(step + 1)

    @torch.no_grad()
    def _lerp(self, averaged: Sequence[Tensor], current: Sequence[Tensor], _: Tensor | int) -> None:
        step = int(self.n_averaged)  # it stays on the CPU: reading it waits for no device
        decay = min(self.decay, (1 + step) / (10 + step))
        for average, value in zip(averaged, current, strict=True):
            if average.is_floating_point():
                average.lerp_(value, 1 - decay)
            else:
                average.copy_(value)
