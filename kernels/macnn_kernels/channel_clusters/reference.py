"""k-means on a Gram matrix in plain PyTorch, all restarts at once.

Every decision follows from exact integers and one correctly rounded division or product, so the
result does not depend on the device. R restarts, N groups, C channels; see README.md.
"""

import torch
from torch import Tensor

MAX_ITERATIONS = 300


def cluster(gram: Tensor, starts: Tensor | None, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Labels (R, C) and inertia (R,) of every restart.

    Args:
        gram: (C, C) int64.
        starts: (R, N) channels to start from, or None for k-means++.
        uniforms: (R, N) float64 in [0, 1), random numbers for k-means++.
    """
    N = uniforms.shape[1]
    labels = _seed(gram, starts, uniforms)
    iterations = 0
    while True:
        distance, inertia = _distances(gram, labels, N)
        nearest, moved = distance.min(dim=1)
        moved = _fill_empty(moved, nearest, N)
        if iterations == MAX_ITERATIONS or torch.equal(moved, labels):
            return labels, inertia
        labels, iterations = moved, iterations + 1


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


def _distances(gram: Tensor, labels: Tensor, N: int) -> tuple[Tensor, Tensor]:
    """Squared distances (R, N, C) to the group means, and inertia (R,)."""
    member = labels[:, None] == torch.arange(N, device=gram.device)[:, None]
    size = member.sum(dim=2)
    # float64 is exact for integers below 2^53, and faster than an integer matrix product
    cross = (member.double() @ gram.double()).long()
    within = torch.where(member, cross, 0).sum(dim=2)
    own = torch.where(member, gram.diagonal(), 0).sum(dim=2)
    n = size[:, :, None]
    distance = (n * n * gram.diagonal() - 2 * n * cross + within[:, :, None]).double() / (n * n)
    inertia = torch.zeros(len(labels), dtype=torch.float64, device=gram.device)
    for k in range(N):  # added up in a fixed order
        inertia = inertia + (size[:, k] * own[:, k] - within[:, k]).double() / size[:, k]
    return distance, inertia


def _fill_empty(labels: Tensor, distance: Tensor, N: int) -> Tensor:
    """Move the channel farthest from its mean into each empty group, but never empty another."""
    for k in range(N):
        size = (labels[:, None] == torch.arange(N, device=labels.device)[:, None]).sum(dim=2)
        alone = size.gather(1, labels) == 1
        farthest = torch.where(alone, -1.0, distance).argmax(dim=1, keepdim=True)
        moved = labels.scatter(1, farthest, k)
        labels = torch.where(size[:, k, None] == 0, moved, labels)
    return labels
