"""What a checkpoint says of its model, and models built from that.

A spec holds all that decides the architecture, and has no defaults. What is read from a file must
keep the bounds noted here.
"""

from dataclasses import asdict, dataclass, fields
from typing import Annotated, TypeVar

from pydantic import ConfigDict, Field
from torch import nn

from macnn import bounds
from macnn.defaults import Activation, PartFeatures
from macnn.model.backbones import Backbone, BackboneSpec
from macnn.model.locator import PartLocator
from macnn.model.macnn import MACNN, PooledClassifier
from macnn.model.part_cnn import PartCNN

Name = Annotated[str, Field(min_length=1, max_length=bounds.NAME)]
ImageSize = Annotated[int, Field(ge=bounds.IMAGE_SIZES[0], le=bounds.IMAGE_SIZES[1])]
Channel = Annotated[float, Field(gt=0, le=1)]
Colour = tuple[Channel, Channel, Channel]
Classes = Annotated[int, Field(ge=1, le=bounds.CLASSES)]

Model = PartLocator | MACNN | PooledClassifier | PartCNN
"""Whatever a checkpoint can hold."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What every model has: a backbone, fields as of `BackboneSpec`, and the side of its images."""

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    backbone: Name
    tap: Name | None
    map_tap: Name | None
    split_signs: bool
    mean: Colour
    std: Colour
    image_size: ImageSize


@dataclass(frozen=True, kw_only=True)
class LocatorSpec(ModelSpec):
    """A `PartLocator`; fields as its arguments."""

    parts: Annotated[int, Field(ge=1, le=bounds.PARTS)]
    hidden: Annotated[int, Field(ge=1, le=bounds.HIDDEN)] | None
    activation: Activation
    power: Annotated[float, Field(gt=0, le=bounds.POWER)]
    competition: Annotated[float, Field(ge=0, le=bounds.SCALE)]


@dataclass(frozen=True, kw_only=True)
class MACNNSpec(LocatorSpec):
    """A `MACNN`; fields as its arguments."""

    classes: Classes
    part_features: PartFeatures
    map_gradient: bool
    whole_image: bool


@dataclass(frozen=True, kw_only=True)
class PooledSpec(ModelSpec):
    """A `PooledClassifier`, the baseline."""

    classes: Classes


@dataclass(frozen=True, kw_only=True)
class PartCNNSpec(MACNNSpec):
    """A `PartCNN`: that of its locator, and fields as its arguments.

    image_size: side of the photographs. locator_size: side at which the locator sees them.
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
        if self.image_size % self.locator_size:
            raise ValueError(f"{self.image_size} px are no multiple of {self.locator_size}")
        if self.cropped > bounds.CROPPED:
            raise ValueError(
                f"{self.parts + 2} streams of {self.stream_size} px see {self.cropped:,} pixels, "
                f"more than {bounds.CROPPED:,}"
            )

    @property
    def locator(self) -> MACNNSpec:
        """The spec of the locator."""
        own = {field.name: getattr(self, field.name) for field in fields(MACNNSpec)}
        return MACNNSpec(**own | {"image_size": self.locator_size})

    @property
    def cropped(self) -> int:
        """Pixels that all streams see together."""
        return (self.parts + 2) * self.stream_size**2


Spec = PartCNNSpec | MACNNSpec | LocatorSpec | PooledSpec
Built = TypeVar("Built", PartLocator, MACNN, PooledClassifier)


def build(spec: Spec) -> Model:
    """What a spec describes, with random weights, for a checkpoint to fill."""
    if isinstance(spec, PartCNNSpec):
        return build_part_cnn(spec, build_on(random_backbone(spec), spec.locator, MACNN))
    if isinstance(spec, MACNNSpec):
        return build_on(random_backbone(spec), spec, MACNN)
    if isinstance(spec, LocatorSpec):
        return build_on(random_backbone(spec), spec, PartLocator)
    return build_on(random_backbone(spec), spec, PooledClassifier)


def build_on(backbone: nn.Module, spec: ModelSpec, kind: type[Built]) -> Built:
    """The model of a spec, which is of this kind, on a backbone; all else random."""
    of_backbone = {field.name for field in fields(BackboneSpec)} | {"backbone"}
    arguments = {name: value for name, value in asdict(spec).items() if name not in of_backbone}
    return kind(backbone, **arguments)


def build_part_cnn(spec: PartCNNSpec, locator: MACNN) -> PartCNN:
    """A part CNN around a locator, its classifiers random."""
    own = {field.name for field in fields(PartCNNSpec)} - {
        field.name for field in fields(MACNNSpec)
    }
    arguments = {name: getattr(spec, name) for name in own - {"locator_size"}}
    return PartCNN(locator, image_size=spec.image_size, **arguments)


def random_backbone(spec: ModelSpec) -> Backbone:
    """The backbone of a spec, with random weights."""
    return Backbone(
        BackboneSpec(spec.backbone, spec.tap, spec.map_tap, spec.split_signs, spec.mean, spec.std)
    )
