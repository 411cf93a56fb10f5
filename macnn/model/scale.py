"""Numbers that are measured on data, and belong to the state of a model."""

from typing import Any

import torch
from torch import Tensor, nn


class Measured(nn.Module):
    """A float32 buffer in the state, and the same as numbers, for operators and geometry.

    Those take numbers; reading the buffer at every step would wait for the device.
    """

    value: Tensor

    def __init__(self, start: tuple[float, ...], *size: int) -> None:
        super().__init__()
        self.register_buffer("value", torch.tensor(start).view(size))
        self.numbers = start
        self.register_load_state_dict_post_hook(_read)  # type: ignore[no-untyped-call]

    def set(self, *numbers: float) -> None:
        """Set the numbers, as float32 rounds them."""
        self.value.copy_(torch.tensor(numbers).view_as(self.value))
        self.numbers = tuple(self.value.flatten().tolist())


class Scale(Measured):
    """A positive factor, 1 to begin with."""

    def __init__(self) -> None:
        super().__init__((1.0,))

    @property
    def number(self) -> float:
        """The factor."""
        return self.numbers[0]


class Shift(Measured):
    """x and y in pixels, 0 to begin with."""

    def __init__(self) -> None:
        super().__init__((0.0, 0.0), 2)


class Responses(Measured):
    """Mean and standard deviation of each part's responses, (2, N); 0 and 1 to begin with."""

    def __init__(self, parts: int) -> None:
        super().__init__((0.0,) * parts + (1.0,) * parts, 2, parts)


def _read(measured: nn.Module, _: Any) -> None:
    assert isinstance(measured, Measured)
    measured.numbers = tuple(measured.value.flatten().tolist())
