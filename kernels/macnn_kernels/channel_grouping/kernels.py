"""Triton kernels of channel grouping: grouped matrix products; equations refer to README.md."""

import triton
import triton.language as tl

from macnn_kernels.kernels import dot, load, store


@triton.jit
def layer(
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
def hidden_grad(
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
    """Back through sigmoid, the second layer and tanh; (3), (4).

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
def pooled_grad(
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
    """Back through the first layers of all parts; (5).

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
def parameter_grad(
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
