"""`part_attention`: public function, cost and registration."""

from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from macnn_kernels import backend, checks
from macnn_kernels.part_attention import reference

Activation = Literal["sigmoid", "softplus_tanh"]
MAX_PARTS = 16  # the kernels hold all parts in a tile of this width


class PartAttention(NamedTuple):
    """Attention maps (B, N, H, W), each summing to 1, and part features (B, N, C)."""

    attention: Tensor
    parts: Tensor


def part_attention(
    features: Tensor,
    weights: Tensor,
    *,
    scale: float,
    activation: Activation = "sigmoid",
    power: float = 1.0,
    competition: Tensor | None = None,
) -> PartAttention:
    """Attention map and feature of every part, in one pass over the features.

    `M = a / sum a` with `a = g(scale * sum_c d_c F_c) ** power`, and `P = sum_xy M F`;
    docs/paper.md, Part attention (5) and (6), Part feature (7). The paper has g = sigmoid and
    power 1, its released network g = softplus(tanh) and power 4. With `competition`, parts and a
    background bid for each position, and a is multiplied by the share that the part wins, the
    softmax of the bids. README.md derives forward and backward. Products have the dtype of
    `features`, sums are float32, and gradients have the dtype of their argument.

    Args:
        features: F, (B, C, H, W), float16, bfloat16, float32 or float64. Contiguous and
            channels_last features are read in place, others may be copied first.
        weights: d, (B, N, C), one to 16 parts, any of these dtypes.
        scale: Factor before the activation.
        activation: "sigmoid", or "softplus_tanh" for softplus(tanh(z)).
        power: Exponent of the activation, positive.
        competition: (2, N) float32, slope and offset of each part's bid, which is
            `slope * scale * sum_c d_c F_c + offset`; the background bids 0. It gets no gradient.

    Returns:
        Attention maps and part features, float32 (float64 if `features` is).

    Raises:
        ValueError: A shape, dtype, device or option does not fit.
    """
    _check(features, weights, activation, power, competition)
    if competition is not None:
        competition = competition.to(torch.float32).contiguous()
    # an exported program must hold nothing but PyTorch
    forward = reference.forward if torch.compiler.is_exporting() else _forward
    attention, parts, _ = forward(features, weights, competition, scale, activation, power)
    return PartAttention(attention, parts)


def attention_bytes(
    B: int,
    C: int,
    H: int,
    W: int,
    N: int,
    element_size: int,
    *,
    backward: bool = False,
    needs_features: bool = True,
) -> int:
    """Bytes `part_attention` must move; features have `element_size` bytes, all else four.

    Forward: features and weights in; attention, scores and parts out. Backward: those and both
    cotangents in; the gradients of the weights and, if needed, of the features out.
    """
    features = B * C * H * W * element_size
    maps, vectors = B * N * H * W * 4, B * N * C * 4
    if backward:
        return (1 + needs_features) * features + 3 * maps + 4 * vectors
    return features + 2 * maps + 2 * vectors


@torch.library.custom_op("macnn::part_attention", mutates_args=())
def _forward(
    features: Tensor,
    weights: Tensor,
    competition: Tensor | None,
    scale: float,
    activation: str,
    power: float,
) -> tuple[Tensor, Tensor, Tensor]:
    if backend.use_triton(features):
        from macnn_kernels.part_attention.forward import forward
    else:
        forward = reference.forward
    return forward(features, weights, competition, scale, activation, power)


@_forward.register_fake
def _(
    features: Tensor,
    weights: Tensor,
    competition: Tensor | None,
    scale: float,
    activation: str,
    power: float,
) -> tuple[Tensor, Tensor, Tensor]:
    return reference.empty_outputs(features, weights)


@torch.library.custom_op("macnn::part_attention_backward", mutates_args=())
def _backward(
    grad_attention: Tensor | None,
    grad_parts: Tensor | None,
    features: Tensor,
    weights: Tensor,
    competition: Tensor | None,
    attention: Tensor,
    parts: Tensor,
    scores: Tensor,
    scale: float,
    activation: str,
    power: float,
    needs_features: bool,
    needs_weights: bool,
) -> list[Tensor]:
    if backend.use_triton(features):
        from macnn_kernels.part_attention.backward import backward
    else:
        backward = reference.backward
    return backward(
        grad_attention,
        grad_parts,
        features,
        weights,
        competition,
        attention,
        parts,
        scores,
        scale,
        activation,
        power,
        needs_features,
        needs_weights,
    )


@_backward.register_fake
def _(*args: Any) -> list[Tensor]:
    _, _, features, weights, *_, needs_features, needs_weights = args
    return reference.empty_grads(features, weights, needs_features, needs_weights)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    features, weights, competition, *ctx.options = inputs
    ctx.mark_non_differentiable(output[2])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(features, weights, competition, *output)


def _differentiate(
    ctx: Any, grad_attention: Tensor | None, grad_parts: Tensor | None, _: None
) -> tuple[Tensor | None, ...]:
    needs_features, needs_weights = ctx.needs_input_grad[:2]
    grads = iter(
        _backward(
            grad_attention,
            grad_parts,
            *ctx.saved_tensors,
            *ctx.options,
            needs_features,
            needs_weights,
        )
    )
    return (
        next(grads) if needs_features else None,
        next(grads) if needs_weights else None,
        *[None] * (1 + len(ctx.options)),
    )


_forward.register_autograd(_differentiate, setup_context=_setup_context)


def _check(
    features: Tensor, weights: Tensor, activation: str, power: float, competition: Tensor | None
) -> None:
    checks.rank("features", features, "B, C, H, W")
    checks.rank("weights", weights, "B, N, C")
    batch, channels, height, width = features.shape
    parts = weights.shape[1]
    if 0 in (channels, height, width):
        raise ValueError(
            f"features: expected (B, C, H, W), only B may be 0, got {checks.describe(features)}"
        )
    if not 1 <= parts <= MAX_PARTS:
        raise ValueError(
            f"weights: expected (B, N, C) with N from 1 to {MAX_PARTS}, "
            f"got {checks.describe(weights)}"
        )
    checks.shape("weights", weights, (batch, parts, channels), "(B, N, C), B and C from features")
    checks.floating("features", features)
    checks.floating("weights", weights)
    checks.same_device(features=features, weights=weights)
    if activation not in get_args(Activation):
        raise ValueError(
            f"activation: expected one of {', '.join(get_args(Activation))}, got '{activation}'"
        )
    if not power > 0:
        raise ValueError(f"power: expected a positive number, got {power}")
    if competition is not None:
        checks.shape("competition", competition, (2, parts), "(2, N), N from weights")
        checks.floating("competition", competition)
        checks.same_device(features=features, competition=competition)
        if competition.requires_grad:
            raise ValueError("competition: expected a tensor without gradient, got one with")
