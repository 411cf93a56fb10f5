"""`grouping_loss`: public function, cost and registration."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from macnn_kernels import backend, checks
from macnn_kernels.grouping_loss import reference


class GroupingLossTerms(NamedTuple):
    """Dis (B, N) in squared cells, and Div (B, N)."""

    distance: Tensor
    diversity: Tensor


def grouping_loss(attention: Tensor, *, margin: float = 0.02) -> GroupingLossTerms:
    """The two terms of the grouping loss, per image and part.

    `Dis_i = sum m_i [(x - tx_i)^2 + (y - ty_i)^2]`, where (tx_i, ty_i) is the peak of m_i and
    constant for the gradient, and `Div_i = sum m_i [max_{k != i} m_k - margin]`; docs/paper.md,
    Losses (12) and (13). The peak is the first of equal maxima in row-major order. Where parts
    share the maximum in Div, it belongs to the first of them; with one part it is 0. The gradient
    of Div includes that of the maximum. README.md derives it.

    Args:
        attention: Attention maps m, (B, N, H, W), float16, bfloat16, float32 or float64.
        margin: Overlap without penalty, in units of m; 0.02 in the paper.

    Returns:
        Dis and Div, float32 (float64 if `attention` is).

    Raises:
        ValueError: The shape or dtype does not fit.
    """
    checks.rank("attention", attention, "B, N, H, W")
    checks.floating("attention", attention)
    if 0 in attention.shape[1:]:
        raise ValueError(
            f"attention: expected (B, N, H, W), only B may be 0, got {checks.describe(attention)}"
        )
    distance, diversity, _ = _forward(attention, margin)
    return GroupingLossTerms(distance, diversity)


def loss_bytes(B: int, N: int, H: int, W: int, element_size: int, *, backward: bool = False) -> int:
    """Bytes `grouping_loss` must move: maps in, (B, N) values, and backward the gradient out."""
    return (1 + backward) * B * N * H * W * element_size + 12 * B * N


@torch.library.custom_op("macnn::grouping_loss", mutates_args=())
def _forward(attention: Tensor, margin: float) -> tuple[Tensor, Tensor, Tensor]:
    if backend.use_triton(attention):
        from macnn_kernels.grouping_loss.kernels import forward
    else:
        forward = reference.forward
    return forward(attention, margin)


@_forward.register_fake
def _(attention: Tensor, margin: float) -> tuple[Tensor, Tensor, Tensor]:
    return reference.empty_outputs(attention)


@torch.library.custom_op("macnn::grouping_loss_backward", mutates_args=())
def _backward(
    grad_distance: Tensor, grad_diversity: Tensor, attention: Tensor, peak: Tensor, margin: float
) -> Tensor:
    if backend.use_triton(attention):
        from macnn_kernels.grouping_loss.kernels import backward
    else:
        backward = reference.backward
    return backward(grad_distance, grad_diversity, attention, peak, margin)


@_backward.register_fake
def _(
    grad_distance: Tensor, grad_diversity: Tensor, attention: Tensor, peak: Tensor, margin: float
) -> Tensor:
    return attention.new_empty(attention.shape)


def _setup_context(ctx: Any, inputs: tuple[Tensor, float], output: tuple[Tensor, ...]) -> None:
    attention, ctx.margin = inputs
    peak = output[2]
    ctx.mark_non_differentiable(peak)
    ctx.save_for_backward(attention, peak)


def _differentiate(
    ctx: Any, grad_distance: Tensor, grad_diversity: Tensor, _: Tensor
) -> tuple[Tensor, None]:
    return _backward(grad_distance, grad_diversity, *ctx.saved_tensors, ctx.margin), None


_forward.register_autograd(_differentiate, setup_context=_setup_context)
