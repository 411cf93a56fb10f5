"""Whether an exported model answers as its original does."""

from dataclasses import dataclass

import torch
from torch import Tensor

from macnn.inference.formats import Run

BATCHES = (1, 2, 5)
SEED = 0


@dataclass(frozen=True)
class Parity:
    """How far two models are apart on the same pictures.

    logits: largest difference of a logit. boxes: largest difference of a box side, in pixels of
    the input; up to a cell where a map has two equal peaks and the models choose differently.
    batches: sizes of the batches tried.
    """

    logits: float
    boxes: float
    batches: tuple[int, ...]


@torch.inference_mode()
def compare(exported: Run, original: Run, image_size: int) -> Parity:
    """Run two models on made-up pictures, in batches of several sizes.

    Raises:
        ValueError: their answers have different shapes.
    """
    generator = torch.Generator().manual_seed(SEED)
    logits = boxes = 0.0
    for count in BATCHES:
        images = _pictures(count, image_size, generator)
        expected, got = original(images), exported(images)
        for name, one, other in zip(expected._fields, expected, got, strict=True):
            if one.shape != other.shape:
                raise ValueError(f"{name}: {tuple(other.shape)}, expected {tuple(one.shape)}")
        logits = max(logits, _distance(expected.logits, got.logits))
        boxes = max(boxes, _distance(expected.boxes, got.boxes))
    return Parity(logits, boxes, BATCHES)


def _pictures(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Patches of colour of several sizes, (count, 3, size, size) uint8."""
    layers = [
        torch.nn.functional.interpolate(
            torch.rand(count, 3, cells, cells, generator=generator), size=size, mode="bilinear"
        )
        for cells in (4, 12, 36)
    ]
    return (torch.stack(layers).mean(dim=0) * 255).round().to(torch.uint8)


def _distance(one: Tensor, other: Tensor) -> float:
    """Largest difference; infinite where either is NaN."""
    if not one.numel():
        return 0.0
    return (one - other).abs().nan_to_num(nan=torch.inf).max().item()
