"""The whole network: backbone, channel grouping, part attention, classifiers (PAPER.md 1-5)."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from macnn.model.alignment import cell_grid
from macnn.model.backbones import Backbone, BackboneSpec
from macnn.model.classifiers import PartClassifiers
from macnn.model.grouping import ChannelGrouping
from macnn_kernels import part_attention


@dataclass(frozen=True)
class NetworkSpec:
    """Everything that decides the architecture; stored with every checkpoint.

    parts: N; 0 is the global-average-pool baseline.
    classes: number of classes; 0 before there are classifiers.
    feature_scale: what F is multiplied by in front of grouping layers and classifiers.
    response_scale: what sum_c d_c F_c is multiplied by in front of the squashing. Both scales are
        measured by part pre-training.
    """

    backbone: str
    tap: str | None
    image_size: int
    parts: int
    classes: int = 0
    hidden: int | None = None
    activation: Literal["sigmoid", "softplus_tanh"] = "sigmoid"
    power: float = 1.0
    part_features: Literal["normalised", "plain"] = "normalised"
    map_gradient: bool = True
    feature_scale: float = 1.0
    response_scale: float = 1.0


class Output(NamedTuple):
    """What the network says about a batch.

    logits: (B, N, classes), one classifier per part (N = 1 for the baseline); None before there
        are classifiers. attention: (B, N, H, W), None for the baseline.
    """

    logits: Tensor | None
    attention: Tensor | None


class Network(nn.Module):
    """MA-CNN, or with `spec.parts` = 0 its global-average-pool baseline.

    `forward` takes uint8 images (B, 3, S, S).
    """

    def __init__(self, spec: NetworkSpec, backbone: Backbone) -> None:
        """Put untrained grouping layers and classifiers on a backbone.

        Raises:
            UsageError: the backbone has no spatial map at this image size.
        """
        super().__init__()
        self.spec = spec
        self.backbone = backbone
        self.map_shape = backbone.map_shape(spec.image_size)
        channels, *cells = self.map_shape
        self.grid = cell_grid(backbone.body, spec.image_size, (cells[0], cells[1]))
        self.grouping = (
            ChannelGrouping(spec.parts, channels, spec.hidden or channels) if spec.parts else None
        )
        self.classifiers = (
            PartClassifiers(
                max(spec.parts, 1), channels, spec.classes, spec.part_features == "normalised"
            )
            if spec.classes
            else None
        )

    def forward(self, images: Tensor) -> Output:
        """Classify images and show where each part looks."""
        return self.recognise(self.backbone(images))

    def recognise(self, features: Tensor) -> Output:
        """The network behind the convolutions, from features (B, C, H, W)."""
        if self.grouping is None:
            return Output(self._classify(_pooled(features).unsqueeze(1)), None)
        maps, parts = part_attention(
            features,
            self.channel_weights(features),
            scale=self.spec.response_scale,
            activation=self.spec.activation,
            power=self.spec.power,
        )
        if not self.spec.map_gradient and torch.is_grad_enabled():
            fixed = maps.detach().flatten(2).to(features.dtype)
            parts = torch.bmm(fixed, features.flatten(2).mT)
        return Output(self._classify(parts), maps)

    def channel_weights(self, features: Tensor) -> Tensor:
        """D (B, N, C) = f(F): the channel weights of every part in every image."""
        assert self.grouping is not None, "the baseline has no parts"
        weights: Tensor = self.grouping(_pooled(features) * self.spec.feature_scale)
        return weights

    def _classify(self, parts: Tensor) -> Tensor | None:
        if self.classifiers is None:
            return None
        logits: Tensor = self.classifiers(parts.float() * self.spec.feature_scale)
        return logits


def _pooled(features: Tensor) -> Tensor:
    return features.mean(dim=(2, 3), dtype=torch.float32)


def build_network(spec: NetworkSpec) -> Network:
    """Build a network with random weights, for a checkpoint to fill."""
    return Network(spec, Backbone(BackboneSpec(spec.backbone, spec.tap)))
