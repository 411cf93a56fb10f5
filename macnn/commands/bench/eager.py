"""MA-CNN as one would write it in PyTorch: loops over parts, broadcasts over channels.

Formulas: docs/paper.md, Channel clustering to Losses; in the dtype of the inputs. The operators are
measured against these functions, and tested to compute the same.
"""

import torch
from torch import Tensor


def channel_peaks(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Column, row and value of every channel's maximum; dead channels at the map centre."""
    _, _, H, W = features.shape
    value, position = features.flatten(2).max(2)
    x = torch.where(value > 0, position % W, W // 2)
    y = torch.where(value > 0, position // W, H // 2)
    return x.int(), y.int(), value


def peak_gram(x: Tensor, y: Tensor) -> Tensor:
    """Gram matrix (C, C) of the peak trajectories (B, C)."""
    x, y = x.double(), y.double()
    return (x.T @ x + y.T @ y).long()


def cluster_channels(trajectories: Tensor, groups: int, *, restarts: int, seed: int = 0) -> Tensor:
    """Labels (C,) of Lloyd's k-means on trajectories (C, 2 B), the best of many starts."""
    generator = torch.Generator().manual_seed(seed)
    best, labels = torch.inf, trajectories.new_zeros(len(trajectories), dtype=torch.int64)
    for _ in range(restarts):
        start = torch.randperm(len(trajectories), generator=generator)[:groups]
        means = trajectories[start.to(trajectories.device)]
        inertia = torch.inf
        while True:
            distance, found = torch.cdist(means, trajectories).square().min(0)
            if not (total := distance.sum().item()) < inertia:
                break
            inertia = total
            means = torch.stack(
                [
                    trajectories[found == n].mean(0) if (found == n).any() else means[n]
                    for n in range(groups)
                ]
            )
        if inertia < best:
            best, labels = inertia, found
    return labels


def channel_grouping(pooled: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """Channel weights (B, N, C), one fully-connected pair after the other."""
    weights = []
    for n in range(len(w1)):
        hidden = (pooled @ w1[n].T + b1[n]).tanh()
        weights.append((hidden @ w2[n].T + b2[n]).sigmoid())
    return torch.stack(weights, 1)


def part_attention(
    features: Tensor,
    weights: Tensor,
    *,
    scale: float,
    power: float = 1.0,
    competition: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention maps (B, N, H, W) and part features (B, N, C)."""
    responses = torch.stack(
        [scale * (features * weights[:, n, :, None, None]).sum(1) for n in range(weights.shape[1])],
        1,
    )
    shares = None
    if competition is not None:
        bids = responses * competition[0][:, None, None] + competition[1][:, None, None]
        shares = torch.cat((bids, torch.zeros_like(bids[:, :1])), 1).softmax(1)
    maps, parts = [], []
    for n in range(weights.shape[1]):
        attention = responses[:, n].sigmoid()
        attention = attention**power if power != 1 else attention
        attention = attention if shares is None else attention * shares[:, n]
        attention = attention / attention.sum((1, 2), keepdim=True)
        maps.append(attention)
        parts.append((features * attention[:, None]).sum((2, 3)))
    return torch.stack(maps, 1), torch.stack(parts, 1)


def grouping_loss(attention: Tensor, *, margin: float = 0.02) -> tuple[Tensor, Tensor]:
    """Dis and Div (B, N), one part after the other."""
    _, N, H, W = attention.shape
    y = torch.arange(H, device=attention.device)[:, None]
    x = torch.arange(W, device=attention.device)
    distance, diversity = [], []
    for i in range(N):
        m = attention[:, i]
        peak = m.flatten(1).argmax(1)[:, None, None]
        distance.append((m * ((x - peak % W) ** 2 + (y - peak // W) ** 2)).sum((1, 2)))
        rival = torch.zeros_like(m)
        for k in range(N):
            if k != i:
                rival = torch.maximum(rival, attention[:, k])
        diversity.append((m * (rival - margin)).sum((1, 2)))
    return torch.stack(distance, 1), torch.stack(diversity, 1)
