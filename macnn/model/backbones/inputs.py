"""What images a network was trained on: their size, how they were resized and normalised."""

from dataclasses import dataclass
from typing import Literal

Interpolation = Literal["bilinear", "bicubic"]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class InputConfig:
    """How pretrained weights expect images.

    image_size: side in pixels. interpolation: of the resizing. mean, std: of red, green and blue,
    of pixels in [0, 1].
    """

    image_size: int
    interpolation: Interpolation
    mean: Colour
    std: Colour
