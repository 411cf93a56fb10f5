"""A factor that is measured on data, and belongs to the state of a model."""

from typing import Any

import torch
from torch import Tensor, nn


class Scale(nn.Module):
    """A positive factor: a float32 buffer in the state, and the same as a number for operators.

    An operator takes a number; reading the buffer at every step would wait for the device.
    """

    value: Tensor

    def __init__(self) -> None:
        """Begin as 1."""
        super().__init__()
        self.register_buffer("value", torch.ones(()))
        self.number = 1.0
        self.register_load_state_dict_post_hook(_read)  # type: ignore[no-untyped-call]

    def set(self, number: float) -> None:
        """Set the factor, as float32 rounds it."""
        self.value.fill_(number)
        self.number = self.value.item()


def _read(scale: nn.Module, _: Any) -> None:
    assert isinstance(scale, Scale)
    scale.number = scale.value.item()
