"""What prediction and export ask of a network, whatever its kind: class logits and part boxes."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from macnn.errors import CheckpointError
from macnn.model import Model, PartCNN
from macnn.model.alignment import part_centres
from macnn.runs.checkpoint import Checkpoint
from macnn.runs.networks import load_model
from macnn.text import shown

BOX_SHARE = 96 / 448
"""Side of a part box over that of the network input: the paper's part crops (docs/paper.md,
Joint recognition). The part CNN says its own."""


class Recognition(NamedTuple):
    """What a network says about B images.

    logits: (B, classes) float32, their softmax being the probabilities.
    boxes: (B, N, 4) float32, one box `(left, top, right, bottom)` per part, in pixels of the
        network input, which it may exceed; N = 0 for a network without parts.
    """

    logits: Tensor
    boxes: Tensor


class Recogniser(nn.Module):
    """A network of any kind behind one interface.

    `forward` takes uint8 RGB images (B, 3, S, S), S being `image_size`, and gives a `Recognition`.
    `box_share` is the side of a part box over S, `pixels` what is looked at per image.
    """

    box_share = BOX_SHARE

    def __init__(self, network: nn.Module, image_size: int) -> None:
        super().__init__()
        self.network = network
        self.image_size = image_size
        self.pixels = image_size**2


class PartRecogniser(Recogniser):
    """MA-CNN: the joint prediction, and a square around the centre of every map.

    The global-average-pool baseline is the same with no square; the part CNN has squares of the
    size of its crops.
    """

    network: Model

    def __init__(self, network: Model) -> None:
        super().__init__(network, network.spec.image_size)
        if isinstance(network, PartCNN):
            self.box_share = network.spec.part_share
            self.pixels += network.spec.cropped

    def forward(self, images: Tensor) -> Recognition:
        """Classify images and box their parts."""
        _, attention, joint = self.network(images)
        if attention is None:
            return Recognition(joint, joint.new_zeros(images.shape[0], 0, 4))
        centres = self.network.grid.to_pixels(part_centres(attention))
        reach = self.box_share * self.image_size / 2
        return Recognition(joint, torch.cat((centres - reach, centres + reach), dim=-1))


def open_recogniser(checkpoint: Checkpoint) -> Recogniser:
    """The network of a checkpoint, ready to be asked.

    Raises:
        CheckpointError: the checkpoint holds no classifier, or its tensors do not fit.
    """
    if not checkpoint.network.classes:
        raise CheckpointError(
            f"{shown(checkpoint.folder)}: a '{checkpoint.kind}' checkpoint cannot name classes yet",
            hint="train it with 'macnn train --init'",
        )
    return PartRecogniser(load_model(checkpoint)).eval().requires_grad_(False)
