"""Optimisers and learning-rate schedule of the two phases."""

import math

from torch.optim import SGD, Adam, Optimizer

from macnn.config.settings import TrainSettings
from macnn.model import Network


def grouping_optimiser(network: Network, settings: TrainSettings) -> Optimizer:
    """Adam over the grouping layers."""
    assert network.grouping is not None, "the baseline has no grouping layers"
    return Adam(network.grouping.parameters(), settings.grouping_rate)


def convolution_optimiser(network: Network, settings: TrainSettings) -> SGD:
    """SGD over the convolutions, at their share of the base rate, and the classifiers."""
    assert network.classifiers is not None, "training needs classifiers"
    return SGD(
        [
            {
                "params": list(network.backbone.parameters()),
                "base": settings.rate * settings.conv_multiplier,
            },
            {"params": list(network.classifiers.parameters()), "base": settings.rate},
        ],
        lr=settings.rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )


def set_rates(optimiser: SGD, done: float, warm: float) -> None:
    """The rates when a share `done` in [0, 1] of all steps is behind: half a cosine.

    The convolutions' rate rises over the share `warm` of all steps, so that classifiers that know
    nothing yet do not spoil trained features.
    """
    convolutions, classifiers = optimiser.param_groups
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    classifiers["lr"] = classifiers["base"] * cosine
    convolutions["lr"] = convolutions["base"] * cosine * (min(1.0, done / warm) if warm else 1.0)
