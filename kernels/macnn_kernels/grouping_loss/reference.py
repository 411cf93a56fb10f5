"""Dis and Div in plain PyTorch, which the kernels are tested against; equations are in README.md.

Half-precision maps are computed in float32.
"""

import torch
from torch import Tensor


def forward(attention: Tensor, margin: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return Dis (B, N), Div (B, N) and the peaks (B, N) as flat positions; (1), (2)."""
    m = attention.to(torch.promote_types(attention.dtype, torch.float32))
    peak = m.flatten(2).argmax(2).int()
    dx2, dy2 = _squared_offsets(m, peak)
    # the squared distance is a sum over axes, so the sums of the map along each axis are enough
    distance = (m.sum(2) * dx2).sum(2) + (m.sum(3) * dy2).sum(2)
    rival, _ = _rivals(m)
    diversity = (m * (rival - margin)).sum((2, 3))
    return distance, diversity, peak


def backward(
    grad_distance: Tensor, grad_diversity: Tensor, attention: Tensor, peak: Tensor, margin: float
) -> Tensor:
    """Return the gradient of the maps (B, N, H, W); (3)-(5)."""
    m = attention.to(torch.promote_types(attention.dtype, torch.float32))
    dx2, dy2 = _squared_offsets(m, peak)
    rival, first = _rivals(m)
    grad_distance, grad_diversity = (
        grad.to(m.dtype)[:, :, None, None] for grad in (grad_distance, grad_diversity)
    )
    grad = grad_distance * (dx2.unsqueeze(2) + dy2.unsqueeze(3))
    grad += grad_diversity * (rival - margin)
    if m.shape[1] > 1:
        # the largest map is the rival of all others, the second largest is the rival of the largest
        second = _is_first_maximum(m.masked_fill(first, -torch.inf))
        weighted = grad_diversity * m
        others = weighted.masked_fill(first, 0).sum(1, keepdim=True)
        leader = weighted.masked_fill(~first, 0).sum(1, keepdim=True)
        grad += torch.where(first, others, 0) + torch.where(second, leader, 0)
    return grad.to(attention.dtype)


def empty_outputs(attention: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Uninitialised Dis, Div and peaks."""
    wide = torch.promote_types(attention.dtype, torch.float32)
    distance, diversity = (attention.new_empty(attention.shape[:2], dtype=wide) for _ in range(2))
    return distance, diversity, attention.new_empty(attention.shape[:2], dtype=torch.int32)


def _rivals(m: Tensor) -> tuple[Tensor, Tensor]:
    """Maximum of the other parts for every part, (2), and where a part is itself the largest."""
    first = _is_first_maximum(m)
    if m.shape[1] == 1:
        return torch.zeros_like(m), first
    runner_up = m.masked_fill(first, -torch.inf).amax(1, keepdim=True)
    return torch.where(first, runner_up, m.amax(1, keepdim=True)), first


def _is_first_maximum(m: Tensor) -> Tensor:
    """True for the largest part of each position, the first of equals."""
    part = torch.arange(m.shape[1], device=m.device)[:, None, None]
    return part == m.max(1, keepdim=True).indices


def _squared_offsets(m: Tensor, peak: Tensor) -> tuple[Tensor, Tensor]:
    """(x - tx)^2 (B, N, W) and (y - ty)^2 (B, N, H), in squared cells."""
    height, width = m.shape[2:]
    x = torch.arange(width, device=m.device)
    y = torch.arange(height, device=m.device)
    dx, dy = x - (peak % width).unsqueeze(2), y - (peak // width).unsqueeze(2)
    return (dx * dx).to(m.dtype), (dy * dy).to(m.dtype)
