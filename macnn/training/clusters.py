"""From the Gram matrix of peak trajectories to the channels of each part.

See docs/paper.md, Channel clustering.

The paper clusters all channels. Many channels follow no part: they fire on the background or on
many things, and blur the response of the cluster they happen to fall into; those that are mostly
silent have no place. So each part is formed by the core of its cluster, the channels nearest to its
mean, and the mean is that of the core (k-means trimmed within each cluster; after Cuesta-Albertos,
Gordaliza and Matran, 1997).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from macnn.errors import DataError
from macnn_kernels import cluster_channels

TRIM_ROUNDS = 20  # a handful suffices
MOST_GROUPS = 8  # numbers of groups whose silhouette is reported
FEWEST = 0.02  # share of the channels below which a part rests on too few of them
LOOSEST = 0.95  # spread above which there are hardly any groups
EXACT = 2**61  # bound of `cluster_channels`, see its README.md
DEAD = 0.5  # share of images beyond which a channel without positive response belongs to no part


@dataclass(frozen=True)
class ChannelGroups:
    """The channels of each part.

    labels: (C,) int64, part of every channel, -1 for none. sizes: channels per part.
    inertia: squared cells, summed over the grouped channels and all images.
    spread: inertia over that of the same channels in a single group; 1 means there are no parts.
    silhouettes: simplified silhouette by number of groups, of the clusters before they are reduced
        to cores: how much nearer channels are to their own mean than to the next. The largest
        is a hint at a natural number of parts.
    """

    labels: Tensor
    sizes: tuple[int, ...]
    inertia: float
    spread: float
    silhouettes: dict[int, float]


def group_channels(
    gram: Tensor,
    dead_share: Tensor,
    parts: int,
    *,
    restarts: int,
    keep: float,
    seed: int,
    dead: float = DEAD,
) -> ChannelGroups:
    """Group channels into parts.

    Args:
        gram: (C, C) int64, from `peak_gram`.
        dead_share: (C,) share of images in which a channel has no positive response.
        parts: number of groups.
        restarts: of k-means; the best inertia wins.
        keep: share of the channels of each cluster that form its part; with 1, the paper's, all
            channels do, dead ones too.
        seed: of the k-means++ draws.
        dead: the share beyond which a channel belongs to no part.

    Raises:
        DataError: fewer channels respond than there are parts, or far too many images were seen.
    """
    everything = keep == 1
    used = torch.arange(len(gram), device=gram.device)[(dead_share <= dead) | everything]
    if len(used) < parts:
        raise DataError(
            f"only {len(used)} of {len(gram)} channels respond in half of the images, too few "
            f"for {parts} parts",
            hint="lower `model.parts`, use trained weights, or set `pretrain.keep` to 1",
        )
    products = gram[used][:, used].contiguous()
    count = len(products)
    if count * max(count, 256) * int(products.diagonal().max()) >= EXACT:
        raise DataError(
            f"the peaks of {count:,} channels add up to more than clustering can count exactly",
            hint="use fewer images, a smaller `data.image_size`, or a `model.map_tap` of fewer "
            "channels",
        )
    found = cluster_channels(products, parts, restarts=restarts, seed=seed).labels
    floats, silhouettes = products.double(), {}
    for groups in range(2, min(MOST_GROUPS, len(used)) + 1):
        tried = cluster_channels(products, groups, restarts=restarts, seed=seed).labels
        silhouettes[groups] = silhouette(floats, tried)
    if not everything:
        found = trim(floats, found, keep)
    labels = torch.full((len(gram),), -1, device=gram.device)
    labels[used] = found
    inertia = distances(floats, found).clamp_min(0).gather(1, found.clamp_min(0)[:, None])[:, 0]
    one_group = torch.where(found < 0, -1, 0)
    whole = distances(floats, one_group)[:, 0].clamp_min(0)
    kept = found >= 0
    return ChannelGroups(
        labels=labels,
        sizes=tuple(found[kept].bincount(minlength=parts).tolist()),
        inertia=inertia[kept].sum().item(),
        spread=(inertia[kept].sum() / whole[kept].sum().clamp_min(1)).item(),
        silhouettes=silhouettes,
    )


def weakness(groups: ChannelGroups) -> str | None:
    """What is wrong with channels that hardly form groups, in words; None if nothing is."""
    smallest, total = min(groups.sizes), sum(groups.sizes)
    if len(groups.sizes) > 1 and smallest < max(2, FEWEST * total):
        found = f"one of the parts is formed by {smallest} of {total} channels"
    elif len(groups.sizes) > 1 and groups.spread > LOOSEST:
        found = f"parts are hardly more compact than all channels together ({groups.spread:.0%})"
    else:
        return None
    return f"{found}: try another `model.map_tap`, or another number of `model.parts`"


def trim(gram: Tensor, labels: Tensor, keep: float) -> Tensor:
    """Reduce every group to its core: the share `keep` of its channels nearest to the core's mean.

    Alternates between cores and the nearest core of every channel, as Lloyd's algorithm does.

    Args:
        gram: (C, C) inner products of the channels' trajectories.
        labels: (C,) group of every channel, each group with at least one.
        keep: share in (0, 1]; a core has at least one channel, or the rounds end before.

    Returns:
        (C,) group of the channels in a core, -1 for the others.
    """
    groups = int(labels.max()) + 1
    for _ in range(TRIM_ROUNDS):
        nearest = distances(gram, labels)
        member = nearest.argmin(dim=1)
        trimmed = torch.full_like(labels, -1)
        for group in range(groups):
            channels = (member == group).nonzero().flatten()
            count = math.ceil(keep * len(channels))
            trimmed[channels[nearest[channels, group].argsort(stable=True)[:count]]] = group
        lost = (trimmed[trimmed >= 0].bincount(minlength=groups) == 0).any()
        if lost or torch.equal(trimmed, labels):
            break
        labels = trimmed
    return labels


def silhouette(gram: Tensor, labels: Tensor) -> float:
    """Mean over channels of (b - a) / max(a, b), a and b the distances to the nearest two means.

    The simplified silhouette, linear in groups (Hruschka, Campello and de Castro, 2004).

    Args:
        gram: (C, C) inner products.
        labels: (C,) group of every channel, at least two groups.
    """
    nearest = distances(gram, labels).clamp_min(0).sqrt().topk(2, dim=1, largest=False).values
    a, b = nearest.unbind(dim=1)
    return ((b - a) / b.clamp_min(1e-12)).mean().item()


def distances(gram: Tensor, labels: Tensor) -> Tensor:
    """Squared distances (C, N) float64 of channels to group means, from inner products alone.

    |p_c - mean_S|^2 = G_cc - 2/|S| sum_{j in S} G_cj + 1/|S|^2 sum_{i, j in S} G_ij

    Args:
        gram: (C, C) inner products; float64 is not copied.
        labels: (C,) group of every channel, -1 for channels that belong to none.
    """
    products = gram.double()
    member = F.one_hot(labels + 1)[:, 1:].double()  # (C, N)
    sizes = member.sum(dim=0)
    to_mean = (products @ member) / sizes  # (C, N)
    mean_norm = (member * to_mean).sum(dim=0) / sizes
    return products.diagonal()[:, None] - 2 * to_mean + mean_norm
