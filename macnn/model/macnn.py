"""MA-CNN, and the baseline it is compared with (docs/paper.md, Part classification)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from macnn import defaults
from macnn.errors import UsageError
from macnn.model.backbones import Features, both
from macnn.model.classifiers import PartClassifiers
from macnn.model.locator import BackboneModel, PartModel, pooled


class Output(NamedTuple):
    """What MA-CNN says about B images.

    logits: (B, K), what all parts say together: the sum of their logits. part_logits: (B, N, K),
    what each part says. attention: (B, N, H, W) float32, where each looks; maps sum to 1.
    """

    logits: Tensor
    part_logits: Tensor
    attention: Tensor

    @property
    def classifier_logits(self) -> Tensor:
        """(B, N, K): one row for each of the model's `classifier_names`."""
        return self.part_logits


class PooledOutput(NamedTuple):
    """What the baseline says about B images: `logits` (B, K)."""

    logits: Tensor

    @property
    def classifier_logits(self) -> Tensor:
        """(B, 1, K): one row for each of the model's `classifier_names`."""
        return self.logits.unsqueeze(1)


class MACNN(PartModel):
    """MA-CNN: finds N parts, and classifies images by each of them.

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
        part_features: defaults.PartFeatures = defaults.PART_FEATURES,
        map_gradient: bool = defaults.MAP_GRADIENT,
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
            part_features: "plain" as pooled, so that a part that is not there says less, or
                "normalised" to unit root mean square.
            map_gradient: whether the classifiers' loss also reaches the backbone through the maps,
                as in the paper; without, maps say where to look and classifiers what to look for.
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
            image_size=image_size,
        )
        self.classes, self.map_gradient = classes, map_gradient
        self.classifiers = PartClassifiers(
            parts, self.feature_shape[0], classes, normalised=part_features == "normalised"
        )

    @property
    def classifier_names(self) -> tuple[str, ...]:
        """What the rows of `Output.part_logits` are."""
        return tuple(f"part {i}" for i in range(1, self.parts + 1))

    def forward(self, images: Tensor) -> Output:
        """Classify images by each of their parts."""
        return self.classify(self.backbone(images))

    def classify(self, features: Features) -> Output:
        """Classify features (B, C, H, W), or a pair of them."""
        attention, parts = self.attend(features)
        if not self.map_gradient and torch.is_grad_enabled():
            parts = self.average(both(features)[1], attention.detach())
        logits: Tensor = self.classifiers(parts.float() * self.feature_scale.number)
        return Output(logits.sum(dim=1), logits, attention)

    def classifier_inputs(self, features: Features) -> Tensor:
        """What the weights of the classifiers are multiplied by: (B, N, C)."""
        parts = self.attend(features).features
        return self.classifiers.inputs(parts.float() * self.feature_scale.number)


class PooledClassifier(BackboneModel):
    """The baseline: global average pooling, unit root mean square, one linear classifier.

    `forward` takes images (B, 3, S, S), as its backbone does, and gives a `PooledOutput`.
    """

    classifier_names = ("network",)

    def __init__(self, backbone: nn.Module, classes: int, *, image_size: int = 224) -> None:
        """Put an untrained classifier of `classes` classes on a backbone; see `MACNN`."""
        check_classes(classes)
        super().__init__(backbone, image_size)
        self.classes = classes
        self.classifiers = PartClassifiers(1, self.feature_shape[0], classes, normalised=True)

    def forward(self, images: Tensor) -> PooledOutput:
        """Classify images."""
        return PooledOutput(self.classifiers(self._described(self.backbone(images))).sum(dim=1))

    def classifier_inputs(self, features: Features) -> Tensor:
        """What the weights of the classifier are multiplied by: (B, 1, C)."""
        return self.classifiers.inputs(self._described(features))

    def _described(self, features: Features) -> Tensor:
        return pooled(both(features)[1]).unsqueeze(1) * self.feature_scale.number


def check_classes(classes: int) -> None:
    """Check a number of classes.

    Raises:
        UsageError: there are none.
    """
    if classes < 1:
        raise UsageError(f"`classes`: {classes}, expected 1 or more")
