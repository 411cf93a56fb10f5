"""k-means on a Gram matrix in plain PyTorch, all restarts at once.

Every decision follows from exact integers and one correctly rounded division or product, so the
result does not depend on the device. R restarts, N groups, C channels; see README.md.
"""

import torch
from torch import Tensor

MAX_ITERATIONS = 300
ROWS_PER_PRODUCT = 1024  # of the Gram matrix that are copied to float64 at a time


def cluster(gram: Tensor, starts: Tensor | None, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Labels (R, C) and inertia (R,) of every restart.

    Args:
        gram: (C, C) int64.
        starts: (R, N) channels to start from, or None for k-means++.
        uniforms: (R, N) float64 in [0, 1), random numbers for k-means++.
    """
    now = _seed(gram, starts, uniforms)
    before = torch.full_like(now, -1)
    cross = gram.new_zeros(*uniforms.shape, len(gram))
    running = torch.arange(len(now), device=gram.device)  # restarts whose labels still change
    labels, inertia = torch.empty_like(now), torch.empty_like(uniforms[:, 0])
    for _ in range(MAX_ITERATIONS + 1):
        _follow(cross, gram, before, now)
        distance, total = _distances(cross, gram.diagonal(), now)
        labels[running], inertia[running] = now, total
        nearest, moved = distance.min(dim=1)
        moved = _fill_empty(moved, nearest, cross.shape[1])
        changed = (moved != now).any(dim=1)
        if not changed.any():
            break
        running, cross = running[changed], cross[changed]
        before, now = now[changed], moved[changed]
    return labels, inertia


def _seed(gram: Tensor, starts: Tensor | None, uniforms: Tensor) -> Tensor:
    """Labels (R, C) after assigning every channel to the nearest start."""
    R, N = uniforms.shape
    diagonal = gram.diagonal()
    nearest = torch.ones(R, len(gram), dtype=torch.int64, device=gram.device)
    labels = torch.zeros_like(nearest)
    for k in range(N):
        start = _draw(nearest, uniforms[:, k]) if starts is None else starts[:, k]
        distance = diagonal - 2 * gram[start] + diagonal[start, None]
        closer = (distance < nearest) | (k == 0)
        nearest = torch.where(closer, distance, nearest)
        labels = torch.where(closer, k, labels)
    return _fill_empty(labels, nearest.double(), N)


def _draw(weights: Tensor, uniform: Tensor) -> Tensor:
    """One channel (R,) per restart with probability proportional to `weights` (R, C)."""
    cumulative = weights.cumsum(dim=1)
    target = (uniform * cumulative[:, -1].double()).long()
    return (cumulative <= target[:, None]).sum(dim=1).clamp(max=weights.shape[1] - 1)


def _follow(cross: Tensor, gram: Tensor, before: Tensor, now: Tensor) -> None:
    """Bring `cross` (R, N, C), the sums of the rows of each group, from labels `before` to `now`.

    Only the rows of channels that moved in any restart are read: few, after the first iterations.
    """
    N = cross.shape[1]
    moved = (before != now).any(dim=0).nonzero().flatten()
    for rows in moved.split(ROWS_PER_PRODUCT):
        change = _members(now[:, rows], N).double() - _members(before[:, rows], N).double()
        # float64 is exact for integers below 2^53, and faster than an integer matrix product
        cross += (change @ gram[rows].double()).long()


def _distances(cross: Tensor, diagonal: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances (R, N, C) to the group means, and inertia (R,)."""
    N = cross.shape[1]
    member = _members(labels, N)
    size = member.sum(dim=2)
    within = torch.where(member, cross, 0).sum(dim=2)
    own = torch.where(member, diagonal, 0).sum(dim=2)
    n = size[:, :, None]
    distance = (n * n * diagonal - 2 * n * cross + within[:, :, None]).double() / (n * n)
    inertia = torch.zeros(len(labels), dtype=torch.float64, device=labels.device)
    for k in range(N):  # added up in a fixed order
        inertia = inertia + (size[:, k] * own[:, k] - within[:, k]).double() / size[:, k]
    return distance, inertia


def _fill_empty(labels: Tensor, distance: Tensor, N: int) -> Tensor:
    """Move the channel farthest from its mean into each empty group, but never empty another."""
    for k in range(N):
        size = _members(labels, N).sum(dim=2)
        alone = size.gather(1, labels) == 1
        farthest = torch.where(alone, -1.0, distance).argmax(dim=1, keepdim=True)
        moved = labels.scatter(1, farthest, k)
        labels = torch.where(size[:, k, None] == 0, moved, labels)
    return labels


def _members(labels: Tensor, N: int) -> Tensor:
    """Which channels belong to each group, (R, N, C)."""
    return labels[:, None] == torch.arange(N, device=labels.device)[:, None]
