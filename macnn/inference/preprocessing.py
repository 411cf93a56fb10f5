"""From a stored picture to the network input, as code and as a description others can follow."""

from dataclasses import dataclass
from typing import Any

from torchvision.transforms import v2

from macnn.data.transforms import Interpolation, ResizeMode, geometry
from macnn.inference.recogniser import Recogniser
from macnn.model.backbones import Backbone
from macnn.runs.checkpoint import Checkpoint


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the square of `size` pixels that the network takes."""

    size: int
    resize_mode: ResizeMode
    interpolation: Interpolation

    def geometry(self) -> v2.Transform:
        """The transform of uint8 images and of points on them; nothing in it is random."""
        return geometry(self.size, self.resize_mode, interpolation=self.interpolation)

    def describe(self, recogniser: Recogniser) -> dict[str, Any]:
        """Everything somebody without this package must do, as JSON-able values."""
        resize = {"interpolation": self.interpolation, "antialias": True}
        square = {"height": self.size, "width": self.size}
        shape: dict[ResizeMode, list[dict[str, Any]]] = {
            "crop": [
                {"step": "resize", "short_side": self.size, **resize},
                {"step": "centre_crop", **square},
            ],
            "pad": [
                {"step": "pad_to_square", "value": [127, 127, 127], "image": "centred"},
                {"step": "resize", **square, **resize},
            ],
            "squash": [{"step": "resize", **square, **resize}],
        }
        backbone = next(m for m in recogniser.modules() if isinstance(m, Backbone))
        return {
            "size": self.size,
            "resize_mode": self.resize_mode,
            "interpolation": self.interpolation,
            "steps": [
                {"step": "decode", "colours": "RGB", "orientation": "as EXIF says"},
                *shape[self.resize_mode],
            ],
            "input": {"dtype": "uint8", "layout": ["batch", "channel", "row", "column"]},
            "normalisation": {
                "done_by": "the model",
                "formula": "(pixel / 255 - mean) / std",
                "mean": [round(mean, 6) for mean in backbone.mean.flatten().tolist()],
                "std": [round(std, 6) for std in backbone.std.flatten().tolist()],
            },
        }


def preprocessing(checkpoint: Checkpoint) -> Preprocessing:
    """The preprocessing that a checkpoint was trained with."""
    data = checkpoint.settings.data
    return Preprocessing(
        checkpoint.network.image_size, data.resize_mode, data.interpolation or "bilinear"
    )
