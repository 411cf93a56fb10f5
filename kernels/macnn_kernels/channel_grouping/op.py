"""`channel_grouping`: public function, cost and registration."""

from typing import Any

import torch
from torch import Tensor

from macnn_kernels import backend, checks
from macnn_kernels.channel_grouping import reference


def channel_grouping(pooled: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """Channel weights of every part, `d_n = sigmoid(W2_n tanh(W1_n g + b1_n) + b2_n)`.

    One pair of fully-connected layers per part; docs/paper.md, Channel-grouping layers (4).
    README.md derives the gradient. Half-precision `pooled` is multiplied in half precision and
    summed in float32. Gradients have the dtype of their argument.

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
    # an exported program must hold nothing but PyTorch
    forward = reference.forward if torch.compiler.is_exporting() else _forward
    weights, _ = forward(pooled, w1, b1, w2, b2)
    return weights


def grouping_bytes(
    B: int, C: int, K: int, N: int, element_size: int, *, backward: bool = False
) -> int:
    """Bytes `channel_grouping` must move, inputs of `element_size` bytes, weights d of four.

    Forward: pooled features and parameters in; weights and hidden units out. Backward: those and
    the cotangent in; the gradients of pooled features and parameters out.
    """
    parameters = N * (2 * K * C + K + C) * element_size
    pooled, hidden, weights = B * C * element_size, B * N * K * element_size, B * N * C * 4
    if backward:
        return 2 * (parameters + pooled + weights) + hidden
    return parameters + pooled + hidden + weights


@torch.library.custom_op("macnn::channel_grouping", mutates_args=())
def _forward(
    pooled: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor
) -> tuple[Tensor, Tensor]:
    if backend.use_triton(pooled):
        from macnn_kernels.channel_grouping.kernels import forward
    else:
        forward = reference.forward
    return forward(pooled, w1, b1, w2, b2)


@_forward.register_fake
def _(pooled: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> tuple[Tensor, Tensor]:
    return reference.empty_outputs(pooled, b1, b2)


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
    if backend.use_triton(pooled):
        from macnn_kernels.channel_grouping.kernels import backward
    else:
        backward = reference.backward
    return backward(grad_weights, pooled, w1, w2, hidden, weights, needs_pooled, needs_parameters)


@_backward.register_fake
def _(*args: Any) -> list[Tensor]:
    _, pooled, w1, w2, _, _, needs_pooled, needs_parameters = args
    return reference.empty_grads(pooled, w1, w2, needs_pooled, needs_parameters)


def _setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    pooled, w1, _, w2, _ = inputs
    weights, hidden = output
    ctx.mark_non_differentiable(hidden)
    ctx.save_for_backward(pooled, w1, w2, hidden, weights)


def _differentiate(ctx: Any, grad_weights: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    needs_pooled, *needs = ctx.needs_input_grad
    grads = iter(_backward(grad_weights, *ctx.saved_tensors, needs_pooled, any(needs)))
    return (
        next(grads) if needs_pooled else None,
        *(grads if any(needs) else [None] * len(needs)),
    )


_forward.register_autograd(_differentiate, setup_context=_setup_context)


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
