"""Settings of the network."""

from typing import Literal

from macnn import bounds
from macnn.config.section import Section, setting


class ModelSettings(Section):
    """The network."""

    backbone: str = setting(
        "tiny",
        "--backbone",
        "'tiny' (packaged) or any torchvision classification network by name.",
        min_length=1,
        max_length=bounds.NAME,
    )
    tap: str | None = setting(
        None,
        "--tap",
        "Node of the backbone whose output is the feature map; by default the last spatial one "
        "(for VGG the ReLU before the last pooling, as in the paper).",
        min_length=1,
        max_length=bounds.NAME,
    )
    weights: str | None = setting(
        None,
        "--weights",
        "Backbone weights: a .safetensors or .pth file, 'imagenet' (torchvision's own, downloaded "
        "once), or 'none' for random ones; 'tiny' brings its own.",
    )
    parts: int = setting(
        4,
        "--parts",
        "Number of parts N; 0 is the global-average-pool baseline.",
        ge=0,
        le=bounds.PARTS,
    )
    hidden: int | None = setting(
        None,
        "--hidden",
        "Hidden width of the channel-grouping layers; by default the number of channels.",
        source="released network",
        ge=1,
        le=bounds.HIDDEN,
    )
    activation: Literal["sigmoid", "softplus_tanh"] = setting(
        "sigmoid", "--activation", "Squashing g of the attention maps.", source="paper: sigmoid"
    )
    power: float = setting(
        8.0,
        "--power",
        "Exponent of the squashed response; larger is sharper.",
        source="paper: 1; released network: 4",
        gt=0,
        le=bounds.POWER,
    )
    gain: float = setting(
        1.0,
        "--gain",
        "Standard deviation of a part's response in front of the squashing, after the measured "
        "feature scale.",
        gt=0,
        le=bounds.SCALE,
    )
    map_gradient: bool = setting(
        False,
        "--map-gradient",
        "Whether L_cls also reaches the convolutions through the attention maps, as in the paper; "
        "without, the maps say where to look and L_cls what to look for.",
        source="paper: yes",
    )
    part_features: Literal["normalised", "plain"] = setting(
        "plain",
        "--part-features",
        "Part features in front of the classifiers: as pooled, where a part that is not there says "
        "less, or at unit root mean square, as the baseline's always are.",
    )
