"""Settings of the network."""

from macnn import bounds, defaults
from macnn.config.section import Section, setting


class ModelSettings(Section):
    """The network."""

    backbone: str = setting(
        "tiny",
        "'tiny' (packaged), one of torchvision's, or timm/NAME.",
        flag="--backbone",
        source="ours; paper: vgg19",
        min_length=1,
        max_length=bounds.NAME,
    )
    tap: str | None = setting(
        None,
        "Layer of the backbone whose output the part features are averaged over. By default the "
        "last one with a spatial extent; for VGG the ReLU before the last pooling.",
        source="paper, for VGG",
        min_length=1,
        max_length=bounds.NAME,
    )
    map_tap: str | None = setting(
        None,
        "Layer whose channels are grouped into parts; by default the same as tap.",
        min_length=1,
        max_length=bounds.NAME,
    )
    split_signs: bool | None = setting(
        None,
        "Make two of every channel that is grouped, its positive and its negative part. By default "
        "where a good part of the layer is negative.",
    )
    weights: str | None = setting(
        None,
        "A file, pretrained (or imagenet: downloaded), or none.",
        flag="--weights",
        source="ours; paper: imagenet",
    )
    parts: int = setting(
        defaults.PARTS,
        "Number of parts N; 0 trains the pooled baseline.",
        flag="--parts",
        unit="parts",
        source="paper",
        ge=0,
        le=bounds.PARTS,
    )
    hidden: int | None = setting(
        None,
        "Hidden width of the channel-grouping layers; by default the number of channels, but at "
        "most 2,048.",
        unit="units",
        source="released network",
        ge=1,
        le=bounds.HIDDEN,
    )
    activation: defaults.Activation = setting(
        defaults.ACTIVATION, "Squashing function g of the attention maps.", source="paper"
    )
    power: float = setting(
        defaults.POWER,
        "Exponent of the squashed response; larger values give sharper maps.",
        source="ours; paper: 1; released network: 4",
        gt=0,
        le=bounds.POWER,
    )
    gain: float = setting(
        defaults.GAIN,
        "Standard deviation that a part's response is scaled to before squashing.",
        gt=0,
        le=bounds.SCALE,
    )
    competition: float = setting(
        defaults.COMPETITION,
        "Temperature at which parts, and a background, compete for each cell by how far their "
        "responses are above their mean; smaller is sharper, 0 is off.",
        unit="standard deviations",
        source="ours; paper: 0",
        ge=0,
        le=bounds.SCALE,
    )
    map_gradient: bool = setting(
        defaults.MAP_GRADIENT,
        "Let L_cls reach the convolutions through the attention maps too. Without it, the maps "
        "say where to look and L_cls what to look for.",
        source="ours; paper: true",
    )
    whole_image: bool = setting(
        defaults.WHOLE_IMAGE,
        "Let one more classifier see the features averaged over the whole image, and add its "
        "logits to those of the parts.",
        source="ours; paper: in the joint stage",
    )
    part_features: defaults.PartFeatures = setting(
        defaults.PART_FEATURES,
        "Part features before the classifiers: plain as pooled, so that an absent part says less, "
        "or normalised to unit root mean square, as the baseline's always are.",
        source="paper",
    )
