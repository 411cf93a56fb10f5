"""A small backbone of our own, for the demo: 128 channels at stride 8, made for 112 px.

Its weights come with the package; TINY.md beside them says what they were trained on.
"""

from importlib.resources import files
from pathlib import Path

from torch import Tensor, nn

MEAN = (0.5, 0.5, 0.5)
STD = (0.5, 0.5, 0.5)


class TinyNet(nn.Sequential):
    """Images (B, 3, S, S), normalised by `MEAN` and `STD`, to features (B, 128, S/8, S/8) >= 0."""

    def __init__(self) -> None:
        super().__init__(
            _conv(3, 16, stride=2),
            _conv(16, 32, stride=2),
            _conv(32, 64),
            _conv(64, 128, stride=2),
            _conv(128, 128, dilation=2),
            _conv(128, 128),
        )

    def __call__(self, images: Tensor) -> Tensor:
        """Compute the features."""
        features: Tensor = super().__call__(images)
        return features


def tiny_weights_path() -> Path:
    """The packaged weights of `TinyNet`."""
    return Path(str(files("macnn.model").joinpath("tiny.safetensors")))


def _conv(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )
