"""Settings of the stages: part pre-training, alternation, joint recognition."""

import math

from macnn import bounds, defaults
from macnn.config.section import Section, setting
from macnn.defaults import RATES, Rates


class PretrainSettings(Section):
    """Part pre-training: cluster the channels, fit the grouping layers to the clusters."""

    restarts: int = setting(
        defaults.RESTARTS,
        "k-means restarts; the lowest inertia wins.",
        flag="--restarts",
        unit="restarts",
        ge=1,
        le=4096,
    )
    keep: float = setting(
        defaults.KEEP,
        "Share of each cluster, nearest its mean, that forms its part.",
        flag="--keep",
        unit="share of the cluster's channels",
        source="ours; paper: 1",
        gt=0,
        le=1,
    )
    fit_steps: int = setting(
        defaults.FIT_STEPS,
        "Steps that fit the grouping layers to the clusters.",
        flag="--fit-steps",
        unit="steps",
        ge=1,
        le=bounds.COUNT,
    )
    fit_lr: float = setting(defaults.FIT_LR, "Learning rate of that fit (Adam).", gt=0)


class TrainSettings(Section):
    """Alternating optimisation (docs/paper.md, Alternating optimisation)."""

    rounds: int | None = setting(
        None,
        f"Rounds of both phases; by default {defaults.ROUNDS[0]} to {defaults.ROUNDS[1]}, for "
        f"{defaults.STEPS:,} steps.",
        flag="--rounds",
        unit="rounds",
        ge=1,
        le=100_000,
    )
    epochs: int = setting(
        defaults.EPOCHS,
        "Epochs of each convolution phase.",
        flag="--epochs",
        unit="epochs",
        ge=1,
        le=100_000,
    )
    grouping_steps: int = setting(
        defaults.GROUPING_STEPS,
        "Steps of each grouping phase; 0 skips it.",
        flag="--grouping-steps",
        unit="steps",
        ge=0,
        le=10_000,
    )
    tolerance: float = setting(
        defaults.TOLERANCE,
        "Stop early once no loss changes by more than this over a round; 0 never stops early.",
        unit="share of the loss",
        ge=0,
    )
    optimizer: str = setting(
        defaults.OPTIMIZER,
        "adamw, sgd, or timm/NAME for one of timm's.",
        source="ours; third party: sgd",
        pattern=r"^(sgd|adamw|timm/\w+)$",
    )
    lr: float | None = setting(
        None,
        f"Classifiers' learning rate; {RATES['adamw'].lr:g}, or {RATES['sgd'].lr:g} for sgd.",
        flag="--lr",
        source="ours; third party, for sgd",
        gt=0,
    )
    backbone_lr_scale: float | None = setting(
        None,
        f"Backbone learning rate over lr; {RATES['adamw'].backbone_lr_scale:g}, or "
        f"{RATES['sgd'].backbone_lr_scale:g} for sgd.",
        flag="--backbone-lr-scale",
        unit="times lr",
        source="ours; released network: 0.1",
        ge=0,
    )
    batch_norm: defaults.BatchNorm | None = setting(
        None,
        "Batch norms while training: train on the statistics of each batch, or eval, which keeps "
        "those of the weights. By default eval for pretrained backbones, if a process sees fewer "
        f"than {defaults.SMALL_BATCH} images at a time.",
    )
    label_smoothing: float = setting(
        defaults.LABEL_SMOOTHING,
        "Share of the label spread over all classes.",
        unit="share",
        ge=0,
        lt=1,
    )
    probe: bool = setting(
        True,
        "Fit the classifiers to the features as they are, before anything is trained: a start, and "
        "a floor that training should not end below.",
    )
    warmup: float = setting(
        defaults.WARMUP,
        "Over which the learning rate of the backbone rises from 0.",
        unit="share of all convolution steps",
        ge=0,
        le=1,
    )
    schedule: defaults.Schedule = setting(
        defaults.SCHEDULE,
        "Learning rate schedule: half a cosine, a step to a tenth after each third, or constant.",
    )
    layer_lr_scales: str = setting(
        "",
        "Learning rates of single layers: PREFIX=FACTOR,... of parameter names, the longest prefix "
        "that fits counts; backbone.body.features.0=0 freezes the first convolution.",
    )
    clip_grad_norm: float = setting(
        defaults.CLIP_GRAD_NORM, "Clip the gradient to this norm; 0 does not clip.", ge=0
    )
    grad_accum_steps: int = setting(
        1,
        "Micro-batches per step, to save memory.",
        flag="--grad-accum-steps",
        unit="micro-batches",
        ge=1,
        le=16_384,
    )
    ema: float = setting(
        0.0, "EMA decay of the evaluated weights; 0 is off.", flag="--ema", ge=0, lt=1
    )
    grouping_lr: float = setting(
        defaults.GROUPING_LR,
        "Learning rate of the grouping phase (Adam).",
        flag="--grouping-lr",
        gt=0,
    )
    momentum: float = setting(defaults.MOMENTUM, "SGD momentum.", source="third party", ge=0, lt=1)
    weight_decay: float | None = setting(
        None,
        f"Weight decay; by default {RATES['adamw'].weight_decay:g}, or "
        f"{RATES['sgd'].weight_decay:g} for sgd.",
        source="PyTorch; third party, for sgd",
        ge=0,
    )
    distance_weight: float = setting(
        defaults.DISTANCE_WEIGHT, "Weight of Dis in L_cng.", source="paper", ge=0
    )
    distance_unit: defaults.DistanceUnit = setting(
        defaults.DISTANCE_UNIT,
        "Unit of length in Dis: the longer side of the map, or one cell.",
        source="ours; the paper does not say",
    )
    diversity_weight: float = setting(
        defaults.DIVERSITY_WEIGHT, "Weight lambda of Div in L_cng.", source="paper", ge=0
    )
    margin: float = setting(defaults.MARGIN, "Margin of Div.", source="paper", ge=0)
    anchor_weight: float = setting(
        defaults.ANCHOR_WEIGHT,
        "Weight of the anchor loss, which keeps every map where part pre-training found its part "
        "while L_cls changes the features.",
        source="ours; paper: 0",
        ge=0,
    )
    conv_grouping_weight: float = setting(
        defaults.CONV_GROUPING_WEIGHT,
        "Weight of L_cng beside L_cls in the convolution phase; it pushes the maps apart.",
        source="ours; paper: 0",
        ge=0,
    )

    @property
    def rates(self) -> Rates:
        """Learning rates and weight decay, with the defaults of the optimizer filled in."""
        usual = RATES.get(self.optimizer, RATES["adamw"])._asdict()
        given = {name: getattr(self, name) for name in usual}
        return Rates(**usual | {name: v for name, v in given.items() if v is not None})

    def rounds_of(self, steps: int) -> int:
        """Rounds, `steps` being those of an epoch: as given, or as the data set wants."""
        if self.rounds is not None:
            return self.rounds
        fewest, most = defaults.ROUNDS
        return min(max(math.ceil(defaults.STEPS / (steps * self.epochs)), fewest), most)


class PartCNNSettings(Section):
    """Training on part crops (docs/paper.md, Joint recognition)."""

    epochs: int = setting(
        defaults.STREAM_EPOCHS,
        "Epochs over the training images.",
        flag="--stream-epochs",
        unit="epochs",
        ge=1,
        le=100_000,
    )
    stream_size: int | None = setting(
        None,
        "Side of the crops; by default what the parts were found at.",
        flag="--stream-size",
        unit="pixels",
        source="ours; paper: 224",
        ge=32,
        le=bounds.IMAGE_SIZES[1],
    )
    part_share: float = setting(
        defaults.PART_SHARE,
        "Side of the square around a part.",
        unit="share of the image's side",
        source="paper: 96/448; released network: 128/448",
        gt=0,
        le=1,
    )
    object_threshold: float = setting(
        defaults.OBJECT_THRESHOLD,
        "Cells whose channel sum is at least this belong to the object; the object stream sees "
        "their bounding square.",
        unit="share of the largest sum",
        source="ours; released network: 0.1",
        gt=0,
        lt=1,
    )
    share_streams: bool = setting(
        False, "One backbone for all streams instead of one each.", flag="--share-streams"
    )
