"""Defaults that settings, modules and losses share, each with who says so. It imports nothing."""

from typing import Literal, NamedTuple

Activation = Literal["sigmoid", "softplus_tanh"]
PartFeatures = Literal["normalised", "plain"]
DistanceUnit = Literal["map", "cell"]
BatchNorm = Literal["train", "eval"]
Schedule = Literal["cosine", "step", "constant"]

# The network
PARTS = 4  # paper
ACTIVATION: Activation = "sigmoid"  # paper
POWER = 8.0  # ours; paper: 1, released network: 4
GAIN = 1.0  # ours
COMPETITION = 1.0  # ours; paper: 0
BACKGROUND = 1.0  # ours: standard deviations above the mean that the background bids
MAP_GRADIENT = False  # ours; paper: True
WHOLE_IMAGE = True  # ours; paper: in the joint stage alone
PART_FEATURES: PartFeatures = "plain"  # paper

# Finding the parts
RESTARTS = 64  # ours
KEEP = 0.5  # ours; paper: 1
FIT_STEPS = 300  # ours
FIT_LR = 1e-3  # ours

# The losses
MARGIN = 0.02  # paper
DISTANCE_WEIGHT = 1.0  # paper
DIVERSITY_WEIGHT = 2.0  # paper
DISTANCE_UNIT: DistanceUnit = "map"  # ours; the paper does not say
ANCHOR_WEIGHT = 20.0  # ours; paper: 0
CONV_GROUPING_WEIGHT = 1.0  # ours; paper: 0

# The alternation
STEPS, ROUNDS = 1500, (8, 24)  # ours: steps wanted, in so many rounds
EPOCHS = 2  # ours
GROUPING_STEPS = 10  # ours
TOLERANCE = 0.0  # ours
GROUPING_LR = 1e-5  # ours
WARMUP = 0.25  # ours
SCHEDULE: Schedule = "cosine"  # ours
MOMENTUM = 0.9  # a third party's
LABEL_SMOOTHING = 0.0  # ours
CLIP_GRAD_NORM = 40.0  # ours


class Rates(NamedTuple):
    """What an optimizer steps with unless told otherwise.

    lr: of the classifiers. backbone_lr_scale: that of the backbone over it. weight_decay.
    """

    lr: float
    backbone_lr_scale: float
    weight_decay: float


OPTIMIZER = "adamw"  # ours
RATES = {
    "sgd": Rates(0.01, 0.05, 5e-4),  # a third party's; ours; a third party's
    "adamw": Rates(1e-3, 0.1, 0.01),  # ours, ours; PyTorch's
}
SMALL_BATCH = 32  # images in a process below which batch norms keep their statistics

# Part crops
PART_SHARE = 96 / 448  # paper; released network: 128/448
OBJECT_THRESHOLD = 0.3  # ours; released network: 0.1
STREAM_EPOCHS = 8  # ours
