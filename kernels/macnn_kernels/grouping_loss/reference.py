"""Dis and Div in plain PyTorch: the truth the kernels are held to. Derivation in README.md.

Half-precision maps are computed in float32.
"""

from typing import NamedTuple

import torch
from torch import Tensor


def forward(attention: Tensor, margin: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return Dis (B, N), Div (B, N) and the peaks (B, N) as flat positions; README (1), (2)."""
    m = attention.to(torch.promote_types(attention.dtype, torch.float32))
    peak = m.flatten(2).argmax(2).int()
    dx2, dy2 = _squared_offsets(m, peak)
    # The squared distance is a sum over axes, so the marginals of the map suffice.
    distance = (m.sum(2) * dx2).sum(2) + (m.sum(3) * dy2).sum(2)
    diversity = (m * (_rivals(m).value - margin)).sum((2, 3))
    return distance, diversity, peak


def backward(
    grad_distance: Tensor, grad_diversity: Tensor, attention: Tensor, peak: Tensor, margin: float
) -> Tensor:
    """Return the gradient of the maps (B, N, H, W); README (3)-(5)."""
    m = attention.to(torch.promote_types(attention.dtype, torch.float32))
    dx2, dy2 = _squared_offsets(m, peak)
    rivals = _rivals(m)
    grad_distance, grad_diversity = (
        grad.to(m.dtype)[:, :, None, None] for grad in (grad_distance, grad_diversity)
    )
    grad = grad_distance * (dx2.unsqueeze(2) + dy2.unsqueeze(3))
    grad += grad_diversity * (rivals.value - margin)
    # The largest map is the rival of all the others, the runner-up that of the largest.
    weighted = grad_diversity * m
    rest = weighted.masked_fill(rivals.first, 0).sum(1, keepdim=True)
    lead = weighted.masked_fill(~rivals.first, 0).sum(1, keepdim=True)
    grad += torch.where(rivals.first, rest, 0) + torch.where(rivals.second, lead, 0)
    return grad.to(attention.dtype)


def empty_outputs(attention: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Uninitialised Dis, Div and peaks."""
    wide = torch.promote_types(attention.dtype, torch.float32)
    distance, diversity = (attention.new_empty(attention.shape[:2], dtype=wide) for _ in range(2))
    return distance, diversity, attention.new_empty(attention.shape[:2], dtype=torch.int32)


class _Rivals(NamedTuple):
    """The other parts' maximum everywhere, and who holds it.

    `value` is for each part the largest of the others (README (2)); `first` and `second` mark the
    largest map and the runner-up of each position.
    """

    value: Tensor
    first: Tensor
    second: Tensor


def _rivals(m: Tensor) -> _Rivals:
    part = torch.arange(m.shape[1], device=m.device)[:, None, None]
    top, index = m.max(1, keepdim=True)
    first = part == index
    if m.shape[1] == 1:
        return _Rivals(torch.zeros_like(m), first, ~first)
    runner_up, index = m.masked_fill(first, -torch.inf).max(1, keepdim=True)
    return _Rivals(torch.where(first, runner_up, top), first, part == index)


def _squared_offsets(m: Tensor, peak: Tensor) -> tuple[Tensor, Tensor]:
    """(x - tx)^2 (B, N, W) and (y - ty)^2 (B, N, H), in squared cells."""
    height, width = m.shape[2:]
    x = torch.arange(width, device=m.device)
    y = torch.arange(height, device=m.device)
    dx, dy = x - (peak % width).unsqueeze(2), y - (peak // width).unsqueeze(2)
    return (dx * dx).to(m.dtype), (dy * dy).to(m.dtype)
