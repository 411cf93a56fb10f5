"""Triton kernels of channel grouping; equation numbers refer to README.md."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton import cdiv

from macnn_kernels.channel_grouping.reference import empty_grads, empty_outputs
from macnn_kernels.kernels import allows_tf32, dot, load, store
from macnn_kernels.launch import Config, launch


def forward(
    pooled: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the channel weights (B, N, C) and the hidden units (B, N, K)."""
    weights, hidden = empty_outputs(pooled, b1, b2)
    _layer(pooled.contiguous(), w1, b1, hidden, tanh=True)
    _layer(hidden, w2, b2, weights, tanh=False)
    return weights, hidden


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
    """Return the gradients asked for: of pooled, then of w1, b1, w2, b2."""
    B, C = pooled.shape
    N, K = w1.shape[:2]
    grad_weights = grad_weights.contiguous()
    grads = empty_grads(pooled, w1, w2, needs_pooled, needs_parameters)
    v = torch.empty_like(hidden)
    launch(
        hidden_grad_kernel,
        lambda blocks: (N * cdiv(B, blocks["BLOCK_B"]) * cdiv(K, blocks["BLOCK_O"]),),
        *(grad_weights, weights, hidden, w2.contiguous(), v),
        *(B, N, C, K),
        TF32=allows_tf32(hidden),
        configs=_configs(hidden),
    )
    if needs_pooled:
        launch(
            pooled_grad_kernel,
            lambda blocks: (cdiv(B, blocks["BLOCK_B"]) * cdiv(C, blocks["BLOCK_O"]),),
            *(v, w1.contiguous(), grads[0]),
            *(B, N * K, C),
            TF32=allows_tf32(hidden),
            configs=_configs(hidden),
        )
    if needs_parameters:
        grad_w1, grad_b1, grad_w2, grad_b2 = grads[-4:]
        _parameter_grad(v, None, pooled.contiguous(), grad_w1, grad_b1)
        _parameter_grad(grad_weights, weights, hidden, grad_w2, grad_b2)
    return grads


def _layer(x: Tensor, w: Tensor, bias: Tensor, y: Tensor, *, tanh: bool) -> None:
    B, N, outputs = y.shape
    launch(
        layer_kernel,
        lambda blocks: (N * cdiv(B, blocks["BLOCK_B"]) * cdiv(outputs, blocks["BLOCK_O"]),),
        *(x, w.contiguous(), bias.contiguous(), y),
        *(B, N, w.shape[2], outputs, x.stride(0), _part_stride(x)),
        TANH=tanh,
        TF32=allows_tf32(x),
        configs=_configs(x),
    )


def _parameter_grad(
    delta: Tensor, y: Tensor | None, x: Tensor, grad_w: Tensor, grad_bias: Tensor
) -> None:
    N, outputs, inputs = grad_w.shape
    launch(
        parameter_grad_kernel,
        lambda blocks: (N * cdiv(outputs, blocks["BLOCK_O"]) * cdiv(inputs, blocks["BLOCK_I"]),),
        *(delta, y, x, grad_w, grad_bias),
        *(len(x), N, inputs, outputs, x.stride(0), _part_stride(x)),
        TF32=allows_tf32(x),
        configs=_configs(x),
    )


def _part_stride(x: Tensor) -> int:
    return x.stride(1) if x.dim() == 3 else 0  # the first layers of all parts share their input


def _configs(x: Tensor) -> list[Config]:
    depth = 64 if x.itemsize == 2 else 32
    return [
        Config({"BLOCK_B": b, "BLOCK_O": o, "BLOCK_I": depth}, num_warps=4, num_stages=3)
        for b, o in ((32, 32), (64, 32), (32, 64), (16, 64))
    ]


@triton.jit
def layer_kernel(
    p_x,  # (B, I), or (B, N, I), with strides
    p_w,  # (N, O, I)
    p_bias,  # (N, O)
    p_y,  # (B, N, O)
    B,
    N,
    inputs,  # I
    outputs,  # O
    stride_b,
    stride_n,
    TANH: tl.constexpr,
    TF32: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_I: tl.constexpr,
    BLOCK_O: tl.constexpr,
):
    """One layer, `act(w x + bias)` with tanh or sigmoid; (1), (2).

    Grid (N * cdiv(B, BLOCK_B) * cdiv(O, BLOCK_O),).
    """
    blocks_o = tl.cdiv(outputs, BLOCK_O)
    blocks_b = tl.cdiv(B, BLOCK_B)
    i_n = (tl.program_id(0) // (blocks_b * blocks_o)).to(tl.int64)
    o_b = tl.program_id(0) // blocks_o % blocks_b * BLOCK_B + tl.arange(0, BLOCK_B)
    o_o = tl.program_id(0) % blocks_o * BLOCK_O + tl.arange(0, BLOCK_O)
    p_x += i_n * stride_n
    p_w += i_n * outputs * inputs

    b_y = tl.zeros([BLOCK_B, BLOCK_O], tl.float32)
    for i_i in range(0, inputs, BLOCK_I):
        o_i = i_i + tl.arange(0, BLOCK_I)
        b_x = load(p_x, o_b, o_i, B, inputs, stride_b, 1)
        b_w = load(p_w, o_i, o_o, inputs, outputs, 1, inputs).to(b_x.dtype)
        b_y = dot(b_x, b_w, b_y, TF32)
    b_y += tl.load(p_bias + i_n * outputs + o_o, mask=o_o < outputs, other=0.0)[None, :]
    b_y = 2.0 * tl.sigmoid(2.0 * b_y) - 1.0 if TANH else tl.sigmoid(b_y)
    store(p_y + i_n * outputs, b_y, o_b, o_o, B, outputs, N * outputs, 1)


@triton.jit
def hidden_grad_kernel(
    p_grad,  # (B, N, C), of the weights
    p_weights,  # (B, N, C)
    p_hidden,  # (B, N, K)
    p_w2,  # (N, C, K)
    p_v,  # (B, N, K), gradient of the hidden units before tanh
    B,
    N,
    C,
    K,
    TF32: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_I: tl.constexpr,
    BLOCK_O: tl.constexpr,
):
    """Backward of sigmoid, second layer and tanh; (3), (4).

    Grid (N * cdiv(B, BLOCK_B) * cdiv(K, BLOCK_O),).
    """
    blocks_k = tl.cdiv(K, BLOCK_O)
    blocks_b = tl.cdiv(B, BLOCK_B)
    i_n = (tl.program_id(0) // (blocks_b * blocks_k)).to(tl.int64)
    o_b = tl.program_id(0) // blocks_k % blocks_b * BLOCK_B + tl.arange(0, BLOCK_B)
    o_k = tl.program_id(0) % blocks_k * BLOCK_O + tl.arange(0, BLOCK_O)
    dtype = p_hidden.dtype.element_ty

    b_v = tl.zeros([BLOCK_B, BLOCK_O], tl.float32)
    for i_c in range(0, C, BLOCK_I):
        o_c = i_c + tl.arange(0, BLOCK_I)
        b_d = load(p_weights + i_n * C, o_b, o_c, B, C, N * C, 1)
        b_u = load(p_grad + i_n * C, o_b, o_c, B, C, N * C, 1) * b_d * (1.0 - b_d)
        b_w = load(p_w2 + i_n * C * K, o_c, o_k, C, K, K, 1).to(dtype)
        b_v = dot(b_u.to(dtype), b_w, b_v, TF32)
    b_h = load(p_hidden + i_n * K, o_b, o_k, B, K, N * K, 1).to(tl.float32)
    store(p_v + i_n * K, b_v * (1.0 - b_h * b_h), o_b, o_k, B, K, N * K, 1)


@triton.jit
def pooled_grad_kernel(
    p_v,  # (B, N K)
    p_w1,  # (N K, C)
    p_grad,  # (B, C)
    B,
    units,  # N K
    C,
    TF32: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_I: tl.constexpr,
    BLOCK_O: tl.constexpr,
):
    """Backward of the first layers of all parts; (5).

    Grid (cdiv(B, BLOCK_B) * cdiv(C, BLOCK_O),).
    """
    blocks_c = tl.cdiv(C, BLOCK_O)
    o_b = tl.program_id(0) // blocks_c * BLOCK_B + tl.arange(0, BLOCK_B)
    o_c = tl.program_id(0) % blocks_c * BLOCK_O + tl.arange(0, BLOCK_O)
    b_grad = tl.zeros([BLOCK_B, BLOCK_O], tl.float32)
    for i_k in range(0, units, BLOCK_I):
        o_k = i_k + tl.arange(0, BLOCK_I)
        b_v = load(p_v, o_b, o_k, B, units, units, 1)
        b_w = load(p_w1, o_k, o_c, units, C, C, 1).to(b_v.dtype)
        b_grad = dot(b_v, b_w, b_grad, TF32)
    store(p_grad, b_grad, o_b, o_c, B, C, C, 1)


@triton.jit
def parameter_grad_kernel(
    p_delta,  # (B, N, O), of the layer before its activation, or after it where p_y is given
    p_y,  # (B, N, O), sigmoid of the layer, or None
    p_x,  # (B, I), or (B, N, I), with strides
    p_grad_w,  # (N, O, I)
    p_grad_bias,  # (N, O)
    B,
    N,
    inputs,  # I
    outputs,  # O
    stride_b,
    stride_n,
    TF32: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_I: tl.constexpr,
    BLOCK_O: tl.constexpr,
):
    """Gradients of one layer's parameters, summed over the batch in order; (6).

    Grid (N * cdiv(O, BLOCK_O) * cdiv(I, BLOCK_I),).
    """
    blocks_i = tl.cdiv(inputs, BLOCK_I)
    blocks_o = tl.cdiv(outputs, BLOCK_O)
    i_n = (tl.program_id(0) // (blocks_o * blocks_i)).to(tl.int64)
    i_i = tl.program_id(0) % blocks_i
    o_o = tl.program_id(0) // blocks_i % blocks_o * BLOCK_O + tl.arange(0, BLOCK_O)
    o_i = i_i * BLOCK_I + tl.arange(0, BLOCK_I)
    p_delta += i_n * outputs
    p_x += i_n * stride_n

    b_grad = tl.zeros([BLOCK_O, BLOCK_I], tl.float32)
    b_grad_bias = tl.zeros([BLOCK_O], tl.float32)
    for i_b in range(0, B, BLOCK_B):
        o_b = i_b + tl.arange(0, BLOCK_B)
        b_delta = load(p_delta, o_o, o_b, outputs, B, 1, N * outputs).to(tl.float32)
        if p_y is not None:
            b_y = load(p_y + i_n * outputs, o_o, o_b, outputs, B, 1, N * outputs)
            b_delta *= b_y * (1.0 - b_y)
        b_x = load(p_x, o_b, o_i, B, inputs, stride_b, 1)
        b_grad = dot(b_delta.to(b_x.dtype), b_x, b_grad, TF32)
        b_grad_bias += tl.sum(b_delta, axis=1)
    store(p_grad_w + i_n * outputs * inputs, b_grad, o_o, o_i, outputs, inputs, inputs, 1)
    if i_i == 0:
        tl.store(p_grad_bias + i_n * outputs + o_o, b_grad_bias, mask=o_o < outputs)
