"""A small backbone of our own, for the demo: 128 channels at stride 8, made for 112 px.

Its weights come with the package; TINY.md beside them says what they were trained on.
"""

from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor, nn

MEAN = (0.5, 0.5, 0.5)
STD = (0.5, 0.5, 0.5)
CHANNELS = 128
IMAGE_SIZE = 112


class TinyNet(nn.Module):
    """What is seen in a small window, times whether a wide one says that it belongs here.

    `forward` takes images (B, 3, S, S), normalised by `MEAN` and `STD`, and gives features
    (B, 128, S/8, S/8), not negative. The small window, 14 px, keeps a peak on the thing that
    caused it; even kernels at even strides centre every cell on its own 8 x 8 px.
    """

    def __init__(self) -> None:
        super().__init__()
        self.what = nn.Sequential(
            *_convolution(3, 24, kernel_size=4, stride=2, padding=1),
            *_convolution(24, 64, kernel_size=4, stride=2, padding=1),
            *_convolution(64, CHANNELS, kernel_size=2, stride=2),
        )
        self.where = nn.Sequential(
            *_convolution(CHANNELS, CHANNELS, kernel_size=3, padding=1),
            nn.Conv2d(CHANNELS, CHANNELS, kernel_size=3, padding=2, dilation=2),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Compute the features."""
        what: Tensor = self.what(images)
        return what * torch.sigmoid(self.where(what))


def tiny_weights_path() -> Path:
    """The packaged weights of `TinyNet`."""
    return Path(str(files("macnn.model").joinpath("tiny.safetensors")))


def _convolution(inputs: int, outputs: int, **window: int) -> tuple[nn.Module, ...]:
    # mypy cannot match **window to Conv2d's overloads of int and tuple
    convolution = nn.Conv2d(inputs, outputs, bias=False, **window)  # type: ignore[arg-type]
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU()
