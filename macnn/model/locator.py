"""Locating parts: backbone, channel grouping, part attention.

See docs/paper.md, Channel-grouping layers to Part attention.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from macnn import defaults
from macnn.errors import UsageError
from macnn.model.alignment import CellGrid, between, cell_grid
from macnn.model.backbones import Features, both, map_shapes
from macnn.model.grouping import ChannelGrouping
from macnn.model.scale import Responses, Scale, Shift
from macnn.model.weights import misshapen
from macnn_kernels import part_attention

WIDEST = 2048  # grouping layers by default: beyond, they would take more memory than networks


class Parts(NamedTuple):
    """Where the parts of B images are, and what is there.

    attention: (B, N, H, W) float32 maps, each summing to 1. features: (B, N, C), the features
    averaged under each map.
    """

    attention: Tensor
    features: Tensor


class BackboneModel(nn.Module):
    """What every model of macnn is: a backbone, and something behind its feature map.

    feature_shape: (C, H, W) of the features of square images of `image_size` pixels; map_shape: of
    what maps are computed from, the same unless the backbone gives a pair. feature_scale: what
    features are multiplied by in front of fully-connected layers; measured by `macnn.find_parts`,
    1 before.
    """

    def __init__(self, backbone: nn.Module, image_size: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.image_size = image_size
        self.map_shape, self.feature_shape = map_shapes(backbone, image_size)
        self.feature_scale = Scale()

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

    parts: N. activation, power, competition: of the attention maps. response_scale: what responses
    are multiplied by in front of the activation, and map_scale: what maps are computed from, in
    front of the grouping layers; measured by `macnn.find_parts`, 1 before. responses: mean and
    standard deviation of each part's, before they are multiplied; also measured. windows: where in
    images of `image_size` pixels the windows of the cells of the maps are; shift: how far from
    there they look; measured by `macnn.find_parts`, 0 before.
    """

    resampling: Tensor | None

    def __init__(
        self,
        backbone: nn.Module,
        parts: int,
        *,
        hidden: int | None = None,
        activation: defaults.Activation = defaults.ACTIVATION,
        power: float = defaults.POWER,
        competition: float = defaults.COMPETITION,
        image_size: int = 224,
    ) -> None:
        """Put untrained grouping layers on a backbone; `macnn.find_parts` fits them to parts.

        Args:
            backbone: takes images, gives features (B, C, H, W), or a pair of them, first what maps
                are computed from: any such module, or `macnn.create_backbone`.
            parts: N, at least 1.
            hidden: width of the grouping layers; by default C, but at most 2,048.
            activation: squashing g of the attention maps (docs/paper.md, Part attention).
            power: exponent of the squashed response; larger is sharper.
            competition: temperature at which parts and a background compete for each cell; 0 for
                none. See `part_attention`.
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
        self.activation, self.power, self.competition = activation, power, competition
        self.grouping = ChannelGrouping(parts, channels, hidden or min(channels, WIDEST))
        self.map_scale, self.response_scale, self.shift = Scale(), Scale(), Shift()
        self.responses = Responses(parts)
        self.windows = self._windows(0)  # now: in bfloat16, or while traced, it cannot be measured
        finer = self.map_shape[1:] != self.feature_shape[1:]
        resampling = between(self.windows, self._windows(1)) if finer else None
        self.register_buffer("resampling", resampling, persistent=False)

    @property
    def grid(self) -> CellGrid:
        """Where in images of `image_size` pixels the cells of the maps look."""
        return self.windows.shifted(*self.shift.numbers)

    def _windows(self, which: int) -> CellGrid:
        """The windows of what maps are computed from, 0, or of the features, 1."""
        shape = (self.map_shape, self.feature_shape)[which]
        return cell_grid(
            self.backbone, self.image_size, shape[1:], lambda x: both(self.backbone(x))[which]
        )

    def attend(self, features: Features) -> Parts:
        """Find the parts in features (B, C, H, W), or a pair of them."""
        seen, described = both(features)
        attention, found = part_attention(
            seen,
            self.channel_weights(seen),
            scale=self.response_scale.number,
            activation=self.activation,
            power=self.power,
            competition=self.bids() if self.competition else None,
        )
        return Parts(attention, found if described is seen else self.average(described, attention))

    def bids(self) -> Tensor:
        """Slope and offset (2, N) of what each part bids for a cell; see `part_attention`.

        Parts bid how many standard deviations their response is above its mean, the background
        `defaults.BACKGROUND`, all over the temperature.
        """
        mean, std = self.responses.value.float()
        slope = 1 / (std * self.response_scale.number)
        offset = -mean / std - defaults.BACKGROUND
        return torch.stack((slope, offset)) / self.competition

    def shares(self, images: Tensor) -> Tensor | None:
        """Share of each cell that every part and, last, the background wins by its bid.

        (B, N + 1, H, W) float32, of images (B, 3, S, S); None if parts do not compete.
        """
        if not self.competition:
            return None
        seen = both(self.backbone(images))[0].float()
        slope, offset = self.bids()[..., None, None]
        responses = torch.einsum("bnc,bchw->bnhw", self.channel_weights(seen), seen)
        bids = responses * self.response_scale.number * slope + offset
        return torch.cat((bids, torch.zeros_like(bids[:, :1])), dim=1).softmax(dim=1)

    def average(self, features: Tensor, attention: Tensor) -> Tensor:
        """Features (B, C, H', W') averaged under maps (B, N, H, W): (B, N, C), in their dtype."""
        weights = attention.flatten(2)
        if self.resampling is not None:
            weights = weights @ self.resampling
        return torch.bmm(weights.to(features.dtype), features.flatten(2).mT)

    def channel_weights(self, seen: Tensor) -> Tensor:
        """D (B, N, C) = f(F): the channel weights of every part in every image."""
        weights: Tensor = self.grouping(pooled(seen) * self.map_scale.number)
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
