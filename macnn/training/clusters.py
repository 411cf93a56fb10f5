"""From the Gram matrix of peak trajectories to the channels of each part (PAPER.md 1).

The paper clusters all channels. Many channels follow no part: they fire on the background or on
many things, and blur the response of the cluster they happen to fall into. So the channels are
clustered, those far from the mean of their cluster are left out, and the others are clustered once
more (one round of trimmed k-means: Cuesta-Albertos, Gordaliza and Matran, 1997).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from macnn.config.settings import PretrainSettings
from macnn.errors import DataError
from macnn_kernels import cluster_channels

DEAD = 0.99  # a channel without positive response in more than this share of images is dead


@dataclass(frozen=True)
class ChannelGroups:
    """The channels of each part.

    labels: (C,) int64, part of every channel, -1 for none. sizes: channels per part.
    inertia: squared cells, summed over the grouped channels and all images.
    spread: inertia over that of the same channels in a single group; 1 means there are no parts.
    """

    labels: Tensor
    sizes: tuple[int, ...]
    inertia: float
    spread: float


def group_channels(
    gram: Tensor, dead_share: Tensor, parts: int, settings: PretrainSettings, seed: int
) -> ChannelGroups:
    """Group channels into parts.

    Args:
        gram: (C, C) int64, from `peak_gram`.
        dead_share: (C,) share of images in which a channel has no positive response.
        parts: number of groups.
        settings: restarts, and the share of the channels to keep; with 1, the paper's, dead ones
            are kept too.
        seed: of the k-means++ draws.

    Raises:
        DataError: fewer channels are left than there are parts.
    """
    channels = torch.arange(len(gram), device=gram.device)
    if settings.keep < 1:
        alive = channels[dead_share <= DEAD]
        count = math.ceil(settings.keep * len(alive))
        if count < parts:
            raise DataError(
                f"only {len(alive)} of {len(gram)} channels respond, too few for {parts} parts",
                hint="raise --keep, lower --parts, or use trained weights",
            )
        part_of_gram = gram[alive][:, alive].contiguous()
        labels = cluster_channels(
            part_of_gram, parts, restarts=settings.restarts, seed=seed
        ).labels
        nearest = distances_to_means(part_of_gram, labels).argsort(stable=True)[:count]
        channels = alive[nearest].sort().values
    kept = gram[channels][:, channels].contiguous()
    found = cluster_channels(kept, parts, restarts=settings.restarts, seed=seed)
    whole = cluster_channels(kept, 1, restarts=1)
    labels = torch.full((len(gram),), -1, device=gram.device)
    labels[channels] = found.labels
    return ChannelGroups(
        labels=labels,
        sizes=tuple(found.sizes.tolist()),
        inertia=found.inertia.item(),
        spread=(found.inertia / whole.inertia.clamp_min(1)).item(),
    )


def distances_to_means(gram: Tensor, labels: Tensor) -> Tensor:
    """Squared distance (C,) float64 of every channel to the mean of its group, from inner products.

    |p_c - mean_S|^2 = G_cc - 2/|S| sum_{j in S} G_cj + 1/|S|^2 sum_{i, j in S} G_ij
    """
    products = gram.double()
    member = F.one_hot(labels).double()  # (C, N)
    sizes = member.sum(dim=0)
    to_mean = (products @ member) / sizes  # (C, N)
    mean_norm = (member * to_mean).sum(dim=0) / sizes
    own = to_mean.gather(1, labels[:, None])[:, 0]
    return products.diagonal() - 2 * own + mean_norm[labels]
