"""Locating parts: backbone, channel grouping, part attention.

See docs/paper.md, Channel-grouping layers to Part attention.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from macnn import defaults
from macnn.errors import UsageError
from macnn.model.alignment import CellGrid, cell_grid
from macnn.model.backbones import map_shape
from macnn.model.grouping import ChannelGrouping
from macnn.model.scale import Scale
from macnn.model.weights import misshapen
from macnn_kernels import part_attention


class Parts(NamedTuple):
    """Where the parts of B images are, and what is there.

    attention: (B, N, H, W) float32 maps, each summing to 1. features: (B, N, C), the features
    averaged under each map.
    """

    attention: Tensor
    features: Tensor


class BackboneModel(nn.Module):
    """What every model of macnn is: a backbone, and something behind its feature map.

    map_shape: (C, H, W) of the feature map of square images of `image_size` pixels. grid: where in
    such an image the cells of the map are. feature_scale: what features are multiplied by in front
    of fully-connected layers; measured by `macnn.find_parts`, 1 before.
    """

    def __init__(self, backbone: nn.Module, image_size: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.image_size = image_size
        self.map_shape = map_shape(backbone, image_size)
        self.grid = self.cell_grid(image_size, self.map_shape[1:])
        self.feature_scale = Scale()

    def cell_grid(self, image_size: int, map_size: tuple[int, int]) -> CellGrid:
        """Where the cells of a map of (H, W) cells are in square images of `image_size` pixels."""
        return cell_grid(getattr(self.backbone, "body", self.backbone), image_size, map_size)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """As of every module.

        Raises:
            UsageError: a `ValueError`; with `strict`, tensors are missing, unknown, or of another
                shape: those of another backbone, or another number of parts or classes.
        """
        if strict and (reason := misshapen(self.state_dict(), state_dict)):
            raise UsageError(f"`state_dict`: not of this model, {reason}")
        return super().load_state_dict(state_dict, strict, assign)


class PartModel(BackboneModel):
    """What every model with parts is: layers that group the channels of its features into N parts.

    parts: N. activation, power: of the attention maps. response_scale: what responses are
    multiplied by in front of the activation; measured by `macnn.find_parts`, 1 before.
    """

    def __init__(
        self,
        backbone: nn.Module,
        parts: int,
        *,
        hidden: int | None = None,
        activation: defaults.Activation = defaults.ACTIVATION,
        power: float = defaults.POWER,
        image_size: int = 224,
    ) -> None:
        """Put untrained grouping layers on a backbone; `macnn.find_parts` fits them to parts.

        Args:
            backbone: takes images, gives features (B, C, H, W): any such module, or
                `macnn.create_backbone`.
            parts: N, at least 1.
            hidden: width of the grouping layers; by default C.
            activation: squashing g of the attention maps (docs/paper.md, Part attention).
            power: exponent of the squashed response; larger is sharper.
            image_size: side of the images, in pixels, that the backbone is asked about once, for C.

        Raises:
            UsageError: a `ValueError`; the backbone gives no features (B, C, H, W) of at least N
                channels, or an argument is out of range.
        """
        if parts < 1:
            raise UsageError(f"`parts`: {parts}, expected 1 or more")
        super().__init__(backbone, image_size)
        channels = self.map_shape[0]
        if channels < parts:
            raise UsageError(
                f"`backbone`: {channels} channels for {parts} parts",
                hint="expected one channel per part, or more",
            )
        self.parts = parts
        self.activation, self.power = activation, power
        self.grouping = ChannelGrouping(parts, channels, hidden or channels)
        self.response_scale = Scale()

    def attend(self, features: Tensor) -> Parts:
        """Find the parts in features (B, C, H, W)."""
        attention, pooled_features = part_attention(
            features,
            self.channel_weights(features),
            scale=self.response_scale.number,
            activation=self.activation,
            power=self.power,
        )
        return Parts(attention, pooled_features)

    def channel_weights(self, features: Tensor) -> Tensor:
        """D (B, N, C) = f(F): the channel weights of every part in every image."""
        weights: Tensor = self.grouping(pooled(features) * self.feature_scale.number)
        return weights


class PartLocator(PartModel):
    """Finds N parts in images: MA-CNN without classifiers.

    `forward` takes images (B, 3, S, S), as its backbone does, and gives `Parts`.
    """

    def forward(self, images: Tensor) -> Parts:
        """Find the parts of images."""
        return self.attend(self.backbone(images))


def pooled(features: Tensor) -> Tensor:
    """Features (B, C, H, W) averaged over the map: (B, C) float32."""
    return features.mean(dim=(2, 3), dtype=torch.float32)
