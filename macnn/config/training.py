"""Settings of the stages: part pre-training, alternation, joint recognition."""

from typing import Literal

from macnn import bounds
from macnn.config.section import Section, setting


class PretrainSettings(Section):
    """Part pre-training: clustering, and fitting the grouping layers to the clusters."""

    restarts: int = setting(
        64, "--restarts", "k-means restarts; the best inertia wins.", ge=1, le=4096
    )
    keep: float = setting(
        0.5,
        "--keep",
        "Share of the channels of each cluster that form its part: the core nearest to its mean; "
        "the others belong to no part.",
        source="paper: 1",
        gt=0,
        le=1,
    )
    fit_steps: int = setting(
        300,
        "--fit-steps",
        "Steps that fit the grouping layers to the indicators.",
        ge=1,
        le=bounds.COUNT,
    )
    fit_lr: float = setting(1e-3, "--fit-lr", "Adam learning rate of that fit.", gt=0)


class TrainSettings(Section):
    """Alternating optimisation (docs/paper.md, Alternating optimisation)."""

    rounds: int = setting(24, "--rounds", "Alternations at most.", ge=1, le=100_000)
    epochs: int = setting(
        2,
        "--epochs",
        "Epochs of each convolution phase; the baseline trains rounds x epochs.",
        ge=1,
        le=100_000,
    )
    grouping_steps: int = setting(
        10,
        "--grouping-steps",
        "Steps of each grouping phase at most; 0 skips it.",
        ge=0,
        le=10_000,
    )
    tolerance: float = setting(
        0.0,
        "--tolerance",
        "Stop alternating when neither loss changes by more than this share over a round; 0 never.",
        ge=0,
    )
    lr: float = setting(0.01, "--lr", "Base learning rate (SGD).", source="third party", gt=0)
    backbone_lr_scale: float = setting(
        0.05,
        "--backbone-lr-scale",
        "Rate of the convolutions over the base rate.",
        source="released network: 0.1",
        ge=0,
    )
    warmup: float = setting(
        0.25,
        "--warmup",
        "Share of all convolution steps over which the rate of the convolutions rises from 0.",
        ge=0,
        le=1,
    )
    schedule: Literal["cosine", "step", "constant"] = setting(
        "cosine",
        "--schedule",
        "How rates fall over training: half a cosine, to a tenth after each third, not at all.",
    )
    layer_lr_scales: str = setting(
        "",
        "--layer-lr-scales",
        "Further factors on the rates of single layers: PREFIX=FACTOR,... of parameter names, "
        "longest prefix first; backbone.body.features.0=0 freezes the first convolution.",
    )
    clip_grad_norm: float = setting(
        40.0,
        "--clip-grad-norm",
        "Largest norm of the gradient, beyond it is scaled down; 0 is off.",
        ge=0,
    )
    grad_accum_steps: int = setting(
        1,
        "--grad-accum-steps",
        "Pieces a batch is worked on in, one after the other, to save memory; rates and batch size "
        "mean the same.",
        ge=1,
        le=16_384,
    )
    ema: float = setting(
        0.0,
        "--ema",
        "Decay per step of the moving average of the weights, which is then what is evaluated and "
        "saved; 0 is off.",
        ge=0,
        lt=1,
    )
    grouping_lr: float = setting(
        1e-5, "--grouping-lr", "Adam learning rate of the grouping phase.", gt=0
    )
    momentum: float = setting(0.9, "--momentum", "SGD momentum.", source="third party", ge=0, lt=1)
    weight_decay: float = setting(
        5e-4, "--weight-decay", "SGD weight decay.", source="third party", ge=0
    )
    distance_weight: float = setting(
        1.0, "--distance-weight", "Weight of Dis in L_cng.", source="paper: 1", ge=0
    )
    distance_unit: Literal["map", "cell"] = setting(
        "map",
        "--distance-unit",
        "Unit of length in Dis: the longer side of the map, or one cell.",
        source="silent in the paper",
    )
    diversity_weight: float = setting(
        2.0, "--diversity-weight", "Weight lambda of Div in L_cng.", source="paper: 2", ge=0
    )
    margin: float = setting(0.02, "--margin", "Margin of Div.", source="paper", ge=0)
    anchor_weight: float = setting(
        20.0,
        "--anchor-weight",
        "Weight of the anchor in the convolution phase: it holds every map where "
        "part pre-training found its part, while L_cls changes the features; 0 is the paper's.",
        source="ours; paper: 0",
        ge=0,
    )
    feature_cache: Literal["auto", "device", "host", "disk", "off"] = setting(
        "auto",
        "--feature-cache",
        "Where features of the fixed convolutions are kept during a grouping phase: computed once "
        "per phase, of every image and its mirror image. auto takes the first place that has room, "
        "if the phase reads more images than that.",
    )
    cache_budget: float = setting(
        0.5, "--cache-budget", "Share of the free memory or disk that this may take.", gt=0, le=1
    )
    conv_grouping_weight: float = setting(
        1.0,
        "--conv-grouping-weight",
        "Weight of L_cng beside L_cls in the convolution phase; it pushes the maps apart.",
        source="paper: 0",
        ge=0,
    )


class PartCNNSettings(Section):
    """Training on part crops (docs/paper.md, Joint recognition)."""

    epochs: int = setting(
        8, "--stream-epochs", "Epochs over the training images.", ge=1, le=100_000
    )
    stream_size: int | None = setting(
        None,
        "--stream-size",
        "Side, in pixels, at which every stream sees its crop; by default the --img-size of the "
        "run that found the parts.",
        source="paper: 224",
        ge=32,
        le=bounds.IMAGE_SIZES[1],
    )
    part_share: float = setting(
        96 / 448,
        "--part-share",
        "Side of the square around a part, as a share of the photograph's.",
        source="paper: 96/448; released network: 128/448",
        gt=0,
        le=1,
    )
    object_threshold: float = setting(
        0.3,
        "--object-threshold",
        "Share of the largest channel sum from which on a cell belongs to the object, whose "
        "bounding square one stream sees.",
        source="released network: 0.1",
        gt=0,
        lt=1,
    )
    share_streams: bool = setting(
        False, "--share-streams", "One backbone for all streams instead of one each."
    )
