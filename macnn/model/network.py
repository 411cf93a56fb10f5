"""Backbone, channel grouping, part attention, classifiers.

See docs/paper.md, Channel-grouping layers to Part classification.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn

from macnn import bounds
from macnn.model.alignment import cell_grid
from macnn.model.backbones import Backbone, BackboneSpec
from macnn.model.classifiers import PartClassifiers
from macnn.model.grouping import ChannelGrouping
from macnn_kernels import part_attention

Name = Annotated[str, Field(min_length=1, max_length=bounds.NAME)]
ImageSize = Annotated[int, Field(ge=bounds.IMAGE_SIZES[0], le=bounds.IMAGE_SIZES[1])]
Scale = Annotated[float, Field(gt=0, le=bounds.SCALE)]


@dataclass(frozen=True)
class NetworkSpec:
    """Everything that decides the architecture; stored with every checkpoint.

    What is read from a file must keep the bounds noted here.

    parts: N; 0 is the global-average-pool baseline.
    classes: number of classes; 0 before there are classifiers.
    feature_scale: what F is multiplied by in front of grouping layers and classifiers.
    part_features: "plain" as pooled, so that a part that is not there says less, or "normalised" to
        unit root mean square, as the baseline's pooled features always are.
    response_scale: what sum_c d_c F_c is multiplied by in front of the squashing. Both scales are
        measured by part pre-training.
    """

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    backbone: Name
    tap: Name | None
    image_size: ImageSize
    parts: Annotated[int, Field(ge=0, le=bounds.PARTS)]
    classes: Annotated[int, Field(ge=0, le=bounds.CLASSES)] = 0
    hidden: Annotated[int, Field(ge=1, le=bounds.HIDDEN)] | None = None
    activation: Literal["sigmoid", "softplus_tanh"] = "sigmoid"
    power: Annotated[float, Field(gt=0, le=bounds.POWER)] = 1.0
    part_features: Literal["normalised", "plain"] = "plain"
    map_gradient: bool = True
    feature_scale: Scale = 1.0
    response_scale: Scale = 1.0


class Output(NamedTuple):
    """What the network says about a batch.

    logits: (B, N, classes), one classifier per part (N = 1 for the baseline); None before there
        are classifiers. attention: (B, N, H, W), None for the baseline. joint: (B, classes), what
        all of them say together; here the sum of their logits.
    """

    logits: Tensor | None
    attention: Tensor | None
    joint: Tensor | None = None


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
                max(spec.parts, 1),
                channels,
                spec.classes,
                normalised=spec.part_features == "normalised" or not spec.parts,
            )
            if spec.classes
            else None
        )

    @property
    def classifier_names(self) -> tuple[str, ...]:
        """What the rows of `Output.logits` are."""
        if self.spec.parts == 0:
            return ("network",)
        return tuple(f"part {i}" for i in range(1, self.spec.parts + 1))

    def forward(self, images: Tensor) -> Output:
        """Classify images and show where each part looks."""
        return self.recognise(self.backbone(images))

    def recognise(self, features: Tensor) -> Output:
        """The network behind the convolutions, from features (B, C, H, W)."""
        if self.grouping is None:
            return self._output(pooled(features).unsqueeze(1), None)
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
        return self._output(parts, maps)

    def channel_weights(self, features: Tensor) -> Tensor:
        """D (B, N, C) = f(F): the channel weights of every part in every image."""
        assert self.grouping is not None, "the baseline has no parts"
        weights: Tensor = self.grouping(pooled(features) * self.spec.feature_scale)
        return weights

    def _output(self, parts: Tensor, attention: Tensor | None) -> Output:
        if self.classifiers is None:
            return Output(None, attention)
        logits: Tensor = self.classifiers(parts.float() * self.spec.feature_scale)
        return Output(logits, attention, logits.sum(dim=1))


def pooled(features: Tensor) -> Tensor:
    """Features (B, C, H, W) averaged over the map: (B, C) float32."""
    return features.mean(dim=(2, 3), dtype=torch.float32)


def build_network(spec: NetworkSpec) -> Network:
    """Build a network with random weights, for a checkpoint to fill."""
    return Network(spec, Backbone(BackboneSpec(spec.backbone, spec.tap)))
