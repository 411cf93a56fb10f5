"""`cluster_channels`: public function, cost and registration."""

from typing import NamedTuple

import torch
from torch import Tensor

from macnn_kernels import backend, checks
from macnn_kernels.channel_clusters import reference

ON_CHIP_CHANNELS = 2048  # the most that a program of the Triton kernel holds, see README.md


class ChannelClusters(NamedTuple):
    """The best clustering of channels found.

    Attributes:
        labels: (C,) int64, group of every channel. Groups are numbered by their first channel.
        inertia: () float64, sum of squared distances to the group means, in squared cells.
        sizes: (N,) int64, channels per group, at least 1.
    """

    labels: Tensor
    inertia: Tensor
    sizes: Tensor


def cluster_channels(
    gram: Tensor,
    num_groups: int,
    *,
    restarts: int = 64,
    seed: int = 0,
    starts: Tensor | None = None,
) -> ChannelClusters:
    """k-means of channels from the Gram matrix of their peak trajectories.

    Lloyd's algorithm with k-means++ seeding; the restart with the smallest inertia wins, the first
    of equals. An empty group receives the channel farthest from its mean. Arithmetic is exact up
    to one rounding per decision, so a seed gives the same result on every device. Not
    differentiable. docs/paper.md, Channel clustering (2) and What we make precise (16).

    Args:
        gram: (C, C) int64, from `peak_gram`, with C * max(C, 256) * max(gram) < 2^61: that is not
            checked, and of 16,384 channels on 28 x 28 maps holds for 5 million images. The Triton
            kernel serves up to 2048 channels.
        num_groups: N, from 1 to C.
        restarts: R, independent runs.
        seed: Seed of k-means++.
        starts: (R, N) int64, channels in [0, C) to start from instead of k-means++; `restarts`
            and `seed` are then ignored.

    Raises:
        ValueError: a wrong shape, dtype or device, or a count out of range.
    """
    checks.rank("gram", gram, "C, C")
    C = gram.shape[0]
    checks.shape("gram", gram, (C, C), "C, C")
    if gram.dtype != torch.int64:
        raise ValueError(f"gram: expected int64, got {checks.describe(gram)}")
    if not 1 <= num_groups <= C:
        raise ValueError(f"num_groups: expected 1 to {C} (the channels of gram), got {num_groups}")
    if restarts < 1:
        raise ValueError(f"restarts: expected at least 1, got {restarts}")
    if starts is not None:
        checks.rank("starts", starts, "R, N")
        restarts = starts.shape[0]
        checks.shape("starts", starts, (max(restarts, 1), num_groups), "R >= 1, num_groups")
        if starts.dtype != torch.int64:
            raise ValueError(f"starts: expected int64, got {checks.describe(starts)}")
        checks.same_device(gram=gram, starts=starts)
    return ChannelClusters(*_cluster(gram, num_groups, restarts, seed, starts))


@torch.library.custom_op("macnn::cluster_channels", mutates_args=())
def _cluster(
    gram: Tensor, num_groups: int, restarts: int, seed: int, starts: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    uniforms = _uniforms(seed, restarts, num_groups, gram.device)
    if backend.use_triton(gram) and len(gram) <= ON_CHIP_CHANNELS:
        from macnn_kernels.channel_clusters.kernels import cluster
    else:
        cluster = reference.cluster
    labels, inertia = cluster(gram, starts, uniforms)
    best = inertia.argmin(dim=0, keepdim=True)
    labels, sizes = _numbered(labels[best].squeeze(0), num_groups)
    return labels, inertia[best].squeeze(0), sizes


@_cluster.register_fake
def _(
    gram: Tensor, num_groups: int, restarts: int, seed: int, starts: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    labels = gram.new_empty(gram.shape[0])
    return labels, gram.new_empty((), dtype=torch.float64), gram.new_empty(num_groups)


def _numbered(labels: Tensor, N: int) -> tuple[Tensor, Tensor]:
    """Labels with groups in the order of their first channels, and the sizes of the groups."""
    member = labels == torch.arange(N, device=labels.device)[:, None]
    by_first = member.int().argmax(dim=1).argsort()
    return by_first.argsort()[labels], member.sum(dim=1)[by_first]


def _uniforms(seed: int, R: int, N: int, device: torch.device) -> Tensor:
    """(R, N) float64 in [0, 1), the same on every device: SplitMix64 of seed and position.

    Computed on `device`, so nothing is copied from the host. int64 products wrap around.
    """

    def mixed(z: Tensor, shift: int) -> Tensor:
        return z ^ ((z >> shift) & ((1 << (64 - shift)) - 1))  # a logical shift

    z = torch.arange(1, R * N + 1, device=device) * -0x61C8864680B583EB + seed
    z = mixed(z, 30) * -0x40A7B892E31B1A47
    z = mixed(z, 27) * -0x6B2FB644ECCEEE15
    return ((mixed(z, 31) >> 11) & ((1 << 53) - 1)).double().mul(2.0**-53).view(R, N)
