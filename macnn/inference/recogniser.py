"""What prediction and export ask of a network, whatever its kind: class logits and part boxes."""

from typing import NamedTuple

from torch import Tensor, nn

from macnn.defaults import PART_SHARE
from macnn.errors import CheckpointError
from macnn.model import MACNN, PartCNN, PartLocator, PooledClassifier
from macnn.model.alignment import part_boxes, part_centres
from macnn.runs.checkpoint import Checkpoint
from macnn.runs.models import load_model
from macnn.text import shown


class Recognition(NamedTuple):
    """What a network says about B images.

    logits: (B, classes) float32, their softmax being the probabilities.
    boxes: (B, N, 4) float32, one box `(left, top, right, bottom)` per part, in pixels of the
        network input, which it may exceed; N = 0 for a network without parts.
    """

    logits: Tensor
    boxes: Tensor


class Recogniser(nn.Module):
    """A model that knows classes, behind one interface.

    `forward` takes uint8 RGB images (B, 3, S, S), S being `image_size`, and gives a `Recognition`.
    `box_share` is the side of a part box over S: that of the part CNN's crops, or the paper's.
    `pixels` is what is looked at per image.
    """

    def __init__(self, model: MACNN | PooledClassifier | PartCNN) -> None:
        super().__init__()
        self.model = model
        self.image_size = model.image_size
        self.parts = 0 if isinstance(model, PooledClassifier) else model.parts
        self.box_share, self.pixels = PART_SHARE, model.image_size**2
        if isinstance(model, PartCNN):
            self.box_share = model.part_share
            self.pixels += model.stream_count * model.stream_size**2

    def forward(self, images: Tensor) -> Recognition:
        """Classify images and box their parts."""
        output = self.model(images)
        if isinstance(self.model, PooledClassifier):
            return Recognition(output.logits, output.logits.new_zeros(images.shape[0], 0, 4))
        centres = self.model.grid.to_pixels(part_centres(output.attention))
        return Recognition(output.logits, part_boxes(centres, self.box_share * self.image_size))


def open_recogniser(checkpoint: Checkpoint) -> Recogniser:
    """The model of a checkpoint, ready to be asked.

    Raises:
        CheckpointError: the checkpoint holds no classifier, or its tensors do not fit.
    """
    model = load_model(checkpoint)
    if isinstance(model, PartLocator):
        raise CheckpointError(
            f"{shown(checkpoint.folder)}: a '{checkpoint.kind}' checkpoint cannot name classes yet",
            hint="train from it first",
        )
    return Recogniser(model).eval().requires_grad_(False)
