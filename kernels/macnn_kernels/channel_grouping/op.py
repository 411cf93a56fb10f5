"""Channel grouping as an operator: checks, registration, autograd, cost."""

from typing import Any, TypeAlias

import torch
from torch import Tensor

from .. import checks
from . import reference

Context: TypeAlias = Any  # what autograd hands over; torch has no type for it


def channel_grouping(pooled: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """Channel weights of every part, `d_n = sigmoid(W2_n tanh(W1_n g + b1_n) + b2_n)`.

    N pairs of fully-connected layers side by side (MA-CNN section 3.1, sizes and activations from
    the released network; README.md beside this file). The computation follows the dtype of
    `pooled`: half precision multiplies in half precision and accumulates in float32. Gradients
    have the dtype of their argument.

    Args:
        pooled: Features averaged over positions, (B, C), float16, bfloat16, float32 or float64.
        w1: First layers, (N, K, C). All four parameters share a dtype, not necessarily `pooled`'s.
        b1: First biases, (N, K).
        w2: Second layers, (N, C, K).
        b2: Second biases, (N, C).

    Returns:
        Channel weights in (0, 1), (B, N, C), float32 (float64 if `pooled` is).

    Raises:
        ValueError: A shape, dtype or device does not fit.
    """
    _check(pooled, w1, b1, w2, b2)
    weights: Tensor = _forward(pooled, w1, b1, w2, b2)[0]
    return weights


def flops(batch: int, channels: int, hidden: int, parts: int, *, backward: bool = False) -> int:
    """Floating-point operations of the matrix products; a multiply-add counts two."""
    return (8 if backward else 4) * batch * parts * hidden * channels


def bytes_moved(
    batch: int, channels: int, hidden: int, parts: int, itemsize: int, *, backward: bool = False
) -> int:
    """Bytes read and written when every tensor moves once, inputs of `itemsize` bytes."""
    pooled = batch * channels * itemsize
    parameters = parts * (2 * hidden * channels + hidden + channels) * itemsize
    outputs = batch * parts * (hidden + channels) * 4
    if backward:  # The gradients are as large as what they belong to.
        return 2 * (pooled + parameters) + outputs + batch * parts * channels * 4
    return pooled + parameters + outputs


@torch.library.custom_op("macnn::channel_grouping", mutates_args=())
def _forward(
    pooled: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor
) -> tuple[Tensor, Tensor]:
    return reference.forward(pooled, w1, b1, w2, b2)


@_forward.register_fake
def _(pooled: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> tuple[Tensor, Tensor]:
    wide = torch.promote_types(pooled.dtype, torch.float32)
    weights = pooled.new_empty((pooled.shape[0], *b2.shape), dtype=wide)
    hidden = pooled.new_empty((pooled.shape[0], *b1.shape), dtype=wide)
    return weights, hidden


@torch.library.custom_op("macnn::channel_grouping_backward", mutates_args=())
def _backward(
    grad_weights: Tensor,
    pooled: Tensor,
    w1: Tensor,
    w2: Tensor,
    hidden: Tensor,
    weights: Tensor,
    needs_pooled: bool,
    needs_parameters: bool,
) -> list[Tensor]:
    return reference.backward(
        grad_weights, pooled, w1, w2, hidden, weights, needs_pooled, needs_parameters
    )


@_backward.register_fake
def _(
    grad_weights: Tensor,
    pooled: Tensor,
    w1: Tensor,
    w2: Tensor,
    hidden: Tensor,
    weights: Tensor,
    needs_pooled: bool,
    needs_parameters: bool,
) -> list[Tensor]:
    parts, units, channels = w1.shape
    shapes = (w1.shape, (parts, units), w2.shape, (parts, channels))
    return [pooled.new_empty(pooled.shape)] * needs_pooled + [
        w1.new_empty(shape) for shape in shapes if needs_parameters
    ]


def _save(ctx: Context, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    pooled, w1, _, w2, _ = inputs
    weights, hidden = output
    ctx.mark_non_differentiable(hidden)
    ctx.save_for_backward(pooled, w1, w2, hidden, weights)


def _differentiate(ctx: Context, grad_weights: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    needs_pooled, *needs = ctx.needs_input_grad
    grads = iter(_backward(grad_weights, *ctx.saved_tensors, needs_pooled, any(needs)))
    return (
        next(grads) if needs_pooled else None,
        *(grads if any(needs) else [None] * len(needs)),
    )


_forward.register_autograd(_differentiate, setup_context=_save)


def _check(pooled: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> None:
    checks.rank("pooled", pooled, "B, C")
    checks.rank("w1", w1, "N, K, C")
    channels = pooled.shape[1]
    parts, units = w1.shape[:2]
    if 0 in (parts, units, channels):
        raise ValueError(f"w1: expected (N, K, C), none of them 0, got {checks.describe(w1)}")
    checks.shape("w1", w1, (parts, units, channels), "(N, K, C), C from pooled")
    checks.shape("b1", b1, (parts, units), "(N, K) from w1")
    checks.shape("w2", w2, (parts, channels, units), "(N, C, K) from w1")
    checks.shape("b2", b2, (parts, channels), "(N, C) from w1")
    checks.floating("pooled", pooled)
    checks.floating("w1", w1)
    parameters = {"b1": b1, "w2": w2, "b2": b2}
    for name, tensor in parameters.items():
        if tensor.dtype != w1.dtype:
            raise ValueError(f"{name}: expected the dtype of w1, {w1.dtype}, got {tensor.dtype}")
    checks.same_device(pooled=pooled, w1=w1, **parameters)
