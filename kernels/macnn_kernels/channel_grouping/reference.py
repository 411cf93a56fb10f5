"""Channel grouping in plain PyTorch, which the kernels are tested against; equations in README.md.

Half-precision inputs are computed in float32.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def forward(
    pooled: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the channel weights (B, N, C) and the hidden units (B, N, K); (1), (2).

    The hidden units have the dtype of `pooled`, the weights at least float32.
    """
    dtype = pooled.dtype
    wide = torch.promote_types(dtype, torch.float32)
    pooled, w1, b1, w2, b2 = (tensor.to(wide) for tensor in (pooled, w1, b1, w2, b2))
    hidden = F.linear(pooled, w1.flatten(0, 1), b1.flatten()).tanh().view(-1, *b1.shape)
    logits = torch.baddbmm(b2.unsqueeze(1), hidden.transpose(0, 1), w2.mT)
    return logits.sigmoid().transpose(0, 1).contiguous(), hidden.to(dtype)


def backward(
    grad_weights: Tensor,
    pooled: Tensor,
    w1: Tensor,
    w2: Tensor,
    hidden: Tensor,
    weights: Tensor,
    needs_pooled: bool,
    needs_parameters: bool,
) -> list[Tensor]:
    """Return the gradients asked for: of pooled, then of w1, b1, w2, b2; (3)-(6)."""
    wide = weights.dtype
    h = hidden.transpose(0, 1).to(wide)
    u = (grad_weights.to(wide) * weights * (1 - weights)).transpose(0, 1)
    v = torch.bmm(u, w2.to(wide)) * (1 - h * h)
    grads = []
    if needs_pooled:
        grad_pooled = v.transpose(0, 1).flatten(1) @ w1.flatten(0, 1).to(wide)
        grads.append(grad_pooled.to(pooled.dtype))
    if needs_parameters:
        grad_w1 = (v.mT.flatten(0, 1) @ pooled.to(wide)).view(w1.shape)
        grad_w2 = torch.bmm(u.mT, h)
        grads += [grad.to(w1.dtype) for grad in (grad_w1, v.sum(1), grad_w2, u.sum(1))]
    return grads


def empty_outputs(pooled: Tensor, b1: Tensor, b2: Tensor) -> tuple[Tensor, Tensor]:
    """Uninitialised channel weights and hidden units."""
    wide = torch.promote_types(pooled.dtype, torch.float32)
    weights = pooled.new_empty((pooled.shape[0], *b2.shape), dtype=wide)
    return weights, pooled.new_empty((pooled.shape[0], *b1.shape))


def empty_grads(
    pooled: Tensor, w1: Tensor, w2: Tensor, needs_pooled: bool, needs_parameters: bool
) -> list[Tensor]:
    """Uninitialised gradients asked for."""
    grads = []
    if needs_pooled:
        grads.append(pooled.new_empty(pooled.shape))
    if needs_parameters:
        shapes = w1.shape, w1.shape[:2], w2.shape, w2.shape[:2]
        grads += [w1.new_empty(shape) for shape in shapes]
    return grads
