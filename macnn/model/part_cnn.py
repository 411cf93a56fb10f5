"""One stream per crop, one classifier on all of them (docs/paper.md, Joint recognition)."""

from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from macnn.errors import UsageError
from macnn.model.alignment import CellGrid, part_centres
from macnn.model.backbones import Features, both
from macnn.model.classifiers import PartClassifiers, normalised
from macnn.model.crops import crop, squares, strong_box
from macnn.model.locator import pooled
from macnn.model.macnn import MACNN, WHOLE

OBJECT, LOCATOR = "object", "locator"


class PartCNNOutput(NamedTuple):
    """What a part CNN says about B images.

    logits: (B, K), what all streams say together. stream_logits: (B, N + 2, K), what each stream
    says alone: of the whole image, the object, and every part. locator_logits: (B, K), what the
    locator says. attention: (B, N, H, W), where its parts are.
    """

    logits: Tensor
    stream_logits: Tensor
    locator_logits: Tensor
    attention: Tensor

    @property
    def classifier_logits(self) -> Tensor:
        """(B, N + 3, K): one row for each of the model's `classifier_names`."""
        return torch.cat((self.stream_logits, self.locator_logits.unsqueeze(1)), dim=1)


class PartCNN(nn.Module):
    """A locator that is never trained, and streams that look where it points.

    `forward` takes uint8 images (B, 3, S, S), S being `image_size`, and gives a `PartCNNOutput`.
    """

    def __init__(
        self,
        locator: MACNN,
        *,
        image_size: int,
        stream_size: int,
        part_share: float,
        object_threshold: float,
        shared: bool,
    ) -> None:
        """Put untrained classifiers on streams, which begin as copies of the locator's backbone.

        Args:
            locator: a trained MA-CNN.
            image_size: side of the images, from which crops are cut; a multiple of the locator's.
            stream_size: side at which every stream sees its crop.
            part_share: side of the square around a part, as a share of the image's.
            object_threshold: share of the largest channel sum from which on a cell belongs to the
                object.
            shared: whether one backbone serves all streams.

        Raises:
            UsageError: a `ValueError`; `image_size` is no multiple of the locator's.
        """
        super().__init__()
        if image_size % locator.image_size:
            raise UsageError(
                f"`image_size`: {image_size}, expected a multiple of {locator.image_size}"
            )
        self.image_size, self.stream_size = image_size, stream_size
        self.part_share, self.object_threshold = part_share, object_threshold
        self.shared, self.classes, self.parts = shared, locator.classes, locator.parts
        self.locator = locator.requires_grad_(False)
        count = 1 if shared else self.stream_count
        copies = nn.ModuleList(deepcopy(locator.backbone) for _ in range(count))
        self.streams = copies.requires_grad_(True)  # the locator's own is not trained
        channels = locator.feature_shape[0]
        self.classifiers = StreamClassifiers(self.stream_count, channels, locator.classes)
        self.shrink = image_size // locator.image_size

    @property
    def grid(self) -> CellGrid:
        """Where in images of `image_size` pixels the cells of the maps look."""
        return self.locator.grid.scaled(self.shrink)

    @property
    def stream_count(self) -> int:
        """Whole image, object, and every part."""
        return self.parts + 2

    @property
    def classifier_names(self) -> tuple[str, ...]:
        """What the rows of `PartCNNOutput.classifier_logits` are."""
        parts = (f"part {i}" for i in range(1, self.parts + 1))
        return (WHOLE, OBJECT, *parts, LOCATOR)

    def train(self, mode: bool = True) -> "PartCNN":
        """Set the mode of the streams; the locator stays as it is evaluated."""
        super().train(mode)
        self.locator.eval()
        return self

    def forward(self, images: Tensor) -> PartCNNOutput:
        """Classify images by every stream alone, by the locator, and by all streams jointly."""
        features = self.locator.backbone(self._small(images))
        located = self.locator.classify(features)
        crops = crop(images, self.boxes(features, located.attention), self.stream_size) / 255
        alone, joint = self.classifiers(self._pooled(crops))
        return PartCNNOutput(joint, alone, located.logits, located.attention)

    def shares(self, images: Tensor) -> Tensor | None:
        """As `PartModel.shares`."""
        return self.locator.shares(self._small(images))

    def _small(self, images: Tensor) -> Tensor:
        """Images as the locator sees them."""
        if self.shrink == 1:
            return images
        return nn.functional.avg_pool2d(images.float(), self.shrink) / 255

    def boxes(self, features: Features, attention: Tensor) -> Tensor:
        """What the streams see, (B, streams, 4) in pixels: the photograph, object and parts."""
        size = self.image_size
        corners = self.grid.to_pixels(strong_box(both(features)[0], self.object_threshold))
        parts = self.grid.to_pixels(part_centres(attention))
        middle = torch.full_like(parts[:, :1], size / 2)
        centres = torch.cat((middle, corners.mean(dim=1, keepdim=True), parts), dim=1)
        extent = (corners[:, 1] - corners[:, 0]).amax(dim=1, keepdim=True)
        sides = torch.cat(
            (
                torch.full_like(extent, size),
                extent,
                torch.full_like(parts[..., 0], self.part_share * size),
            ),
            dim=1,
        )
        return squares(centres, sides, size)

    def _pooled(self, crops: Tensor) -> Tensor:
        """Globally pooled features of every stream (B, streams, C), from crops."""
        if self.shared:
            together = pooled(both(self.streams[0](crops.flatten(0, 1)))[1])
            return together.view(*crops.shape[:2], -1)
        each = [pooled(both(stream(crops[:, i]))[1]) for i, stream in enumerate(self.streams)]
        return torch.stack(each, dim=1)


class StreamClassifiers(nn.Module):
    """A linear classifier on all streams, and beside it one per stream.

    `forward` takes features (B, streams, C) and gives logits (B, streams, classes) of the streams
    alone, and (B, classes) of all of them. Every feature is scaled to unit root mean square, so
    that no stream outweighs another.
    """

    def __init__(self, streams: int, channels: int, classes: int) -> None:
        super().__init__()
        self.alone = PartClassifiers(streams, channels, classes)
        self.joint = nn.Linear(streams * channels, classes)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Classify by every stream, and by all of them."""
        scaled = normalised(features)
        return self.alone(scaled), self.joint(scaled.flatten(1))
