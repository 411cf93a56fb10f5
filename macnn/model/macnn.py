"""MA-CNN, and the baseline it is compared with (docs/paper.md, Part classification)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from macnn import defaults
from macnn.errors import UsageError
from macnn.model.backbones import Features, both
from macnn.model.classifiers import PartClassifiers, normalised
from macnn.model.locator import BackboneModel, PartModel, pooled

WHOLE = "whole image"


class Output(NamedTuple):
    """What MA-CNN says about B images.

    logits: (B, K), what all classifiers say together: the sum of their logits. classifier_logits:
    (B, M, K), one row for each of the model's `classifier_names`: what each part says and, last,
    the whole image, if it is asked. attention: (B, N, H, W) float32, where each part looks; maps
    sum to 1.
    """

    logits: Tensor
    classifier_logits: Tensor
    attention: Tensor

    @property
    def part_logits(self) -> Tensor:
        """(B, N, K): what each part says."""
        return self.classifier_logits[:, : self.attention.shape[1]]


class PooledOutput(NamedTuple):
    """What the baseline says about B images: `logits` (B, K)."""

    logits: Tensor

    @property
    def classifier_logits(self) -> Tensor:
        """(B, 1, K): one row for each of the model's `classifier_names`."""
        return self.logits.unsqueeze(1)


class MACNN(PartModel):
    """MA-CNN: finds N parts, and classifies images by each of them, and by the whole.

    `forward` takes images (B, 3, S, S), as its backbone does, and gives an `Output`. `state_dict`
    holds all there is to keep, the measured scales too.
    """

    def __init__(
        self,
        backbone: nn.Module,
        parts: int,
        classes: int,
        *,
        hidden: int | None = None,
        activation: defaults.Activation = defaults.ACTIVATION,
        power: float = defaults.POWER,
        competition: float = defaults.COMPETITION,
        part_features: defaults.PartFeatures = defaults.PART_FEATURES,
        map_gradient: bool = defaults.MAP_GRADIENT,
        whole_image: bool = defaults.WHOLE_IMAGE,
        image_size: int = 224,
    ) -> None:
        """Put untrained grouping layers and classifiers on a backbone.

        Args:
            backbone: see `PartModel`, as for the arguments that are not here.
            parts: N, at least 1.
            classes: K, at least 1.
            hidden: width of the grouping layers; by default the backbone's channels.
            activation: squashing of the attention maps.
            power: exponent of the squashed response.
            competition: temperature at which parts compete for each cell.
            part_features: "plain" as pooled, so that a part that is not there says less, or
                "normalised" to unit root mean square.
            map_gradient: whether the classifiers' loss also reaches the backbone through the maps,
                as in the paper; without, maps say where to look and classifiers what to look for.
            whole_image: whether one more classifier sees the globally pooled features, normalised.
            image_size: side of the images that the backbone is asked about once.

        Raises:
            UsageError: a `ValueError`; see `PartModel`.
        """
        check_classes(classes)
        super().__init__(
            backbone,
            parts,
            hidden=hidden,
            activation=activation,
            power=power,
            competition=competition,
            image_size=image_size,
        )
        self.classes, self.map_gradient = classes, map_gradient
        self.whole_image, self.part_features = whole_image, part_features
        self.classifiers = PartClassifiers(parts + whole_image, self.feature_shape[0], classes)

    @property
    def classifier_names(self) -> tuple[str, ...]:
        """What the rows of `Output.classifier_logits` are."""
        parts = tuple(f"part {i}" for i in range(1, self.parts + 1))
        return (*parts, WHOLE) if self.whole_image else parts

    def forward(self, images: Tensor) -> Output:
        """Classify images by each of their parts."""
        return self.classify(self.backbone(images))

    def classify(self, features: Features) -> Output:
        """Classify features (B, C, H, W), or a pair of them."""
        attention, parts = self.attend(features)
        if not self.map_gradient and torch.is_grad_enabled():
            parts = self.average(both(features)[1], attention.detach())
        logits: Tensor = self.classifiers(self._inputs(features, parts))
        return Output(logits.sum(dim=1), logits, attention)

    def classifier_inputs(self, features: Features) -> Tensor:
        """What the weights of the classifiers are multiplied by: (B, M, C)."""
        return self._inputs(features, self.attend(features).features)

    def _inputs(self, features: Features, parts: Tensor) -> Tensor:
        inputs = parts.float() * self.feature_scale.number
        if self.part_features == "normalised":
            inputs = normalised(inputs)
        if not self.whole_image:
            return inputs
        whole = normalised(pooled(both(features)[1]) * self.feature_scale.number)
        return torch.cat((inputs, whole.unsqueeze(1)), dim=1)


class PooledClassifier(BackboneModel):
    """The baseline: global average pooling, unit root mean square, one linear classifier.

    `forward` takes images (B, 3, S, S), as its backbone does, and gives a `PooledOutput`.
    """

    classifier_names = (WHOLE,)

    def __init__(self, backbone: nn.Module, classes: int, *, image_size: int = 224) -> None:
        """Put an untrained classifier of `classes` classes on a backbone; see `MACNN`."""
        check_classes(classes)
        super().__init__(backbone, image_size)
        self.classes = classes
        self.classifiers = PartClassifiers(1, self.feature_shape[0], classes)

    def forward(self, images: Tensor) -> PooledOutput:
        """Classify images."""
        return PooledOutput(self.classifiers(self.classifier_inputs(self.backbone(images)))[:, 0])

    def classifier_inputs(self, features: Features) -> Tensor:
        """What the weights of the classifier are multiplied by: (B, 1, C)."""
        return normalised(pooled(both(features)[1]) * self.feature_scale.number).unsqueeze(1)


def check_classes(classes: int) -> None:
    """Check a number of classes.

    Raises:
        UsageError: there are none.
    """
    if classes < 1:
        raise UsageError(f"`classes`: {classes}, expected 1 or more")
