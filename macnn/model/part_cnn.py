"""One stream per crop, one classifier on all of them (docs/paper.md, Joint recognition)."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from macnn import bounds
from macnn.model.alignment import part_centres
from macnn.model.backbones import Backbone
from macnn.model.classifiers import PartClassifiers
from macnn.model.crops import crop, squares, strong_box
from macnn.model.network import (
    ImageSize,
    Network,
    NetworkSpec,
    Output,
    build_network,
    pooled,
)

WHOLE, OBJECT, SUMMED = "whole image", "object", "summed parts"


@dataclass(frozen=True, kw_only=True)
class PartCNNSpec(NetworkSpec):
    """That of the locator, which is a trained MA-CNN, and what is made of the parts it finds.

    image_size: side of the photographs, from which crops are cut; a multiple of `locator_size`.
    locator_size: side at which the locator sees them.
    stream_size: side at which every stream sees its crop.
    part_share: side of the square around a part, as a share of the photograph's.
    object_threshold: share of the largest channel sum from which on a cell belongs to the object.
    shared: whether one backbone serves all streams.
    """

    locator_size: ImageSize
    stream_size: ImageSize
    part_share: Annotated[float, Field(gt=0, le=1)]
    object_threshold: Annotated[float, Field(gt=0, lt=1)]
    shared: bool

    def __post_init__(self) -> None:
        """Check what concerns two fields.

        Raises:
            ValueError: they do not go together.
        """
        if not self.parts or not self.classes:
            raise ValueError("its locator has no parts, or no classes")
        if self.image_size % self.locator_size:
            raise ValueError(f"{self.image_size} px are no multiple of {self.locator_size}")
        if self.cropped > bounds.CROPPED:
            raise ValueError(
                f"{self.streams} streams of {self.stream_size} px see {self.cropped:,} pixels, "
                f"more than {bounds.CROPPED:,}"
            )

    @property
    def locator(self) -> NetworkSpec:
        """The spec of the locator."""
        own = {field.name: getattr(self, field.name) for field in fields(NetworkSpec)}
        return replace(NetworkSpec(**own), image_size=self.locator_size)

    @property
    def streams(self) -> int:
        """Whole image, object, and every part."""
        return self.parts + 2

    @property
    def cropped(self) -> int:
        """Pixels that all streams see together."""
        return int(self.streams * self.stream_size**2)


class PartCNN(nn.Module):
    """A locator that is never trained, and streams that look where it points.

    `forward` takes uint8 images (B, 3, S, S), S being `spec.image_size`.
    """

    def __init__(self, spec: PartCNNSpec, locator: Network, streams: Sequence[Backbone]) -> None:
        """Put untrained classifiers on backbones: one per stream, or a single shared one."""
        super().__init__()
        self.spec = spec
        self.locator = locator.requires_grad_(False)
        self.streams = nn.ModuleList(streams)
        self.classifiers = StreamClassifiers(spec.streams, locator.map_shape[0], spec.classes)
        self.shrink = spec.image_size // spec.locator_size
        self.grid = locator.grid.scaled(self.shrink)

    @property
    def classifier_names(self) -> tuple[str, ...]:
        """What the rows of `Output.logits` are."""
        return (WHOLE, OBJECT, *self.locator.classifier_names, SUMMED)

    def train(self, mode: bool = True) -> "PartCNN":
        """Set the mode of the streams; the locator stays as it is evaluated."""
        super().train(mode)
        self.locator.eval()
        return self

    def forward(self, images: Tensor) -> Output:
        """Classify images by every stream alone, by the locator, and by all streams jointly."""
        small = (
            images if self.shrink == 1 else nn.functional.avg_pool2d(images.float(), self.shrink)
        )
        features = self.locator.backbone(small)
        located = self.locator.recognise(features)
        assert located.attention is not None
        assert located.joint is not None
        crops = crop(images, self.boxes(features, located.attention), self.spec.stream_size)
        alone, joint = self.classifiers(self._pooled(crops))
        logits = torch.cat((alone, located.joint.unsqueeze(1)), dim=1)
        return Output(logits, located.attention, joint)

    def boxes(self, features: Tensor, attention: Tensor) -> Tensor:
        """What the streams see, (B, streams, 4) in pixels: the photograph, object and parts."""
        size = self.spec.image_size
        corners = self.grid.to_pixels(strong_box(features, self.spec.object_threshold))
        parts = self.grid.to_pixels(part_centres(attention))
        middle = torch.full_like(parts[:, :1], size / 2)
        centres = torch.cat((middle, corners.mean(dim=1, keepdim=True), parts), dim=1)
        extent = (corners[:, 1] - corners[:, 0]).amax(dim=1, keepdim=True)
        sides = torch.cat(
            (
                torch.full_like(extent, size),
                extent,
                torch.full_like(parts[..., 0], self.spec.part_share * size),
            ),
            dim=1,
        )
        return squares(centres, sides, size)

    def _pooled(self, crops: Tensor) -> Tensor:
        """Globally pooled features of every stream (B, streams, C), from crops."""
        if self.spec.shared:
            together = pooled(self.streams[0](crops.flatten(0, 1)))
            return together.view(*crops.shape[:2], -1)
        each = [pooled(stream(crops[:, i])) for i, stream in enumerate(self.streams)]
        return torch.stack(each, dim=1)


class StreamClassifiers(nn.Module):
    """A linear classifier on all streams, and beside it one per stream.

    `forward` takes features (B, streams, C) and gives logits (B, streams, classes) of the streams
    alone, and (B, classes) of all of them. Every feature is scaled to unit root mean square, so
    that no stream outweighs another.
    """

    def __init__(self, streams: int, channels: int, classes: int) -> None:
        super().__init__()
        self.alone = PartClassifiers(streams, channels, classes, normalised=True)
        self.joint = nn.Linear(streams * channels, classes)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Classify by every stream, and by all of them."""
        scaled = nn.functional.rms_norm(features, features.shape[-1:])
        return self.alone(features), self.joint(scaled.flatten(1))


def build_part_cnn(spec: PartCNNSpec) -> PartCNN:
    """Build a part CNN with random weights, for a checkpoint to fill."""
    return around(build_network(spec.locator), spec)


def around(locator: Network, spec: PartCNNSpec) -> PartCNN:
    """A part CNN around a locator; its streams begin as copies of that one's backbone."""
    count = 1 if spec.shared else spec.streams
    return PartCNN(spec, locator, [deepcopy(locator.backbone) for _ in range(count)])
