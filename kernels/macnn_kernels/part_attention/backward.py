"""Triton kernels of part attention, backward; equation numbers refer to README.md."""

import triton
import triton.language as tl
from torch import Tensor
from triton import cdiv

from macnn_kernels.kernels import dot, load, store
from macnn_kernels.launch import Config, launch
from macnn_kernels.part_attention.kernels import bids
from macnn_kernels.part_attention.reference import empty_grads
from macnn_kernels.part_attention.tiling import constants, tiling


def backward(
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
    """Return the gradients asked for: of the features, then of the weights."""
    B, N, C = weights.shape
    flat = features.flatten(2)
    tiles = tiling(flat)
    grads = empty_grads(features, weights, needs_features, needs_weights)
    grad_flat = grads[0].flatten(2) if needs_features else None
    grad_strides = (0, 0, 0) if grad_flat is None else grad_flat.stride()
    grad_splits = scores.new_empty(B, tiles.splits, N, C) if needs_weights else None
    grad_attention = None if grad_attention is None else grad_attention.contiguous()
    grad_parts = None if grad_parts is None else grad_parts.contiguous()
    q = scores.new_empty(B, N)
    launch(
        delta_kernel,
        lambda blocks: (B * N,),
        *(attention, grad_attention, parts, grad_parts, flat, q),
        *(C, flat.shape[2]),
        configs=[Config({"BLOCK": 1024})],
    )
    launch(
        backward_kernel if tiles.resident else backward_streamed_kernel,
        lambda blocks: (B * tiles.splits,),
        *(grad_attention, grad_parts, flat, weights.contiguous(), competition),
        *(attention, scores, q, grad_flat, grad_splits),
        *(tiles.splits, tiles.split_size, flat.stride(0), grad_strides[0], scale, power),
        **constants(flat, N, activation),
        GRAD_STRIDE_C=grad_strides[1],
        GRAD_STRIDE_S=grad_strides[2],
        BLOCK_N=16,  # products here sum over parts, which tensor cores do 16 at a time
        configs=tiles.configs,
    )
    if needs_weights:
        launch(
            sum_splits_kernel,
            lambda blocks: (B * cdiv(N * C, blocks["BLOCK"]),),
            *(grad_splits, grads[-1], N * C, tiles.splits),
            configs=[Config({"BLOCK": 256})],
        )
    return grads


@triton.jit
def delta_kernel(
    p_attention,  # (B, N, S)
    p_grad_attention,  # (B, N, S), or None
    p_parts,  # (B, N, C)
    p_grad_parts,  # (B, N, C), or None
    p_features,  # only its dtype is used
    p_q,  # (B, N)
    C,
    S,
    BLOCK: tl.constexpr,
):
    """(6) for one part of one image, called delta in flash attention; grid (B * N,)."""
    i_bn = tl.program_id(0).to(tl.int64)
    b_q = tl.zeros([BLOCK], tl.float32)
    if p_grad_attention is not None:
        for i_s in range(0, S, BLOCK):
            o = i_s + tl.arange(0, BLOCK)
            b_m = tl.load(p_attention + i_bn * S + o, mask=o < S, other=0.0)
            b_q += b_m * tl.load(p_grad_attention + i_bn * S + o, mask=o < S, other=0.0)
    if p_grad_parts is not None:
        for i_c in range(0, C, BLOCK):
            o = i_c + tl.arange(0, BLOCK)
            b_p = tl.load(p_parts + i_bn * C + o, mask=o < C, other=0.0)
            b_g = tl.load(p_grad_parts + i_bn * C + o, mask=o < C, other=0.0)
            # rounded as in (5), so that t and q still cancel
            b_q += b_p * b_g.to(p_features.dtype.element_ty).to(tl.float32)
    tl.store(p_q + i_bn, tl.sum(b_q, axis=0))


@triton.jit
def backward_kernel(
    p_grad_attention,  # (B, N, S), or None
    p_grad_parts,  # (B, N, C), or None
    p_features,  # (B, C, S)
    p_weights,  # (B, N, C)
    p_competition,  # (2, N), or None
    p_attention,  # (B, N, S)
    p_scores,  # (B, N, S)
    p_q,  # (B, N)
    p_grad_features,  # (B, C, S), or None
    p_grad_splits,  # (B, splits, N, C), gradient of the weights from each split, or None
    splits,
    split_size,  # positions of a split, a multiple of BLOCK_S
    stride_b,
    grad_stride_b,
    scale,
    power,
    C: tl.constexpr,
    S: tl.constexpr,
    STRIDE_C: tl.constexpr,
    STRIDE_S: tl.constexpr,
    GRAD_STRIDE_C: tl.constexpr,
    GRAD_STRIDE_S: tl.constexpr,
    N: tl.constexpr,
    SIGMOID: tl.constexpr,
    TF32: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_S: tl.constexpr,
):
    """Resident: gradients of the features and of the weights from one split."""
    i_split = tl.program_id(0) % splits
    i_b = (tl.program_id(0) // splits).to(tl.int64)
    o_bc = i_b * N * C
    o_bs = i_b * N * S
    dtype = p_features.dtype.element_ty
    o_n = tl.arange(0, BLOCK_N)
    o_c = tl.arange(0, BLOCK_C)

    b_q = tl.load(p_q + i_b * N + o_n, mask=o_n < N, other=0.0)
    if p_grad_parts is not None:
        b_g = load(p_grad_parts + o_bc, o_c, o_n, C, N, 1, C).to(dtype)
    if p_grad_features is not None:
        b_d = load(p_weights + o_bc, o_c, o_n, C, N, 1, C).to(dtype)
    if p_grad_splits is not None:
        b_grad_d = tl.zeros([BLOCK_C, BLOCK_N], tl.float32)

    for i_s in range(
        i_split * split_size, tl.minimum(i_split * split_size + split_size, S), BLOCK_S
    ):
        o_s = i_s + tl.arange(0, BLOCK_S)
        if p_grad_parts is not None or p_grad_splits is not None:
            b_f = load(p_features + i_b * stride_b, o_c, o_s, C, S, STRIDE_C, STRIDE_S)
        b_t = tl.zeros([BLOCK_S, BLOCK_N], tl.float32)  # (5)
        if p_grad_attention is not None:
            b_t += load(p_grad_attention + o_bs, o_s, o_n, S, N, 1, S)
        if p_grad_parts is not None:
            b_t = dot(tl.trans(b_f), b_g, b_t, TF32)
        b_m = load(p_attention + o_bs, o_s, o_n, S, N, 1, S)
        b_z = load(p_scores + o_bs, o_s, o_n, S, N, 1, S)
        b_h = b_m * (b_t - b_q[None, :])
        b_u = (scale * _through(p_competition, b_h, b_z, o_n, power, N, SIGMOID)).to(dtype)  # (7)

        if p_grad_splits is not None:
            b_grad_d = dot(b_f, b_u, b_grad_d, TF32)  # (8)
        if p_grad_features is not None:
            b_grad = dot(b_d, tl.trans(b_u), None, TF32)  # (9)
            if p_grad_parts is not None:
                b_grad = dot(b_g, tl.trans(b_m.to(dtype)), b_grad, TF32)
            p_grad = p_grad_features + i_b * grad_stride_b
            store(p_grad, b_grad, o_c, o_s, C, S, GRAD_STRIDE_C, GRAD_STRIDE_S)

    if p_grad_splits is not None:
        o_split = i_b * splits + i_split
        store(p_grad_splits + o_split * N * C, b_grad_d, o_c, o_n, C, N, 1, C)


@triton.jit
def backward_streamed_kernel(
    p_grad_attention,  # (B, N, S), or None
    p_grad_parts,  # (B, N, C), or None
    p_features,  # (B, C, S)
    p_weights,  # (B, N, C)
    p_competition,  # (2, N), or None
    p_attention,  # (B, N, S)
    p_scores,  # (B, N, S)
    p_q,  # (B, N)
    p_grad_features,  # (B, C, S), or None
    p_grad_splits,  # (B, splits, N, C), gradient of the weights from each split, or None
    splits,
    split_size,  # positions of a split: one tile
    stride_b,
    grad_stride_b,
    scale,
    power,
    C: tl.constexpr,
    S: tl.constexpr,
    STRIDE_C: tl.constexpr,
    STRIDE_S: tl.constexpr,
    GRAD_STRIDE_C: tl.constexpr,
    GRAD_STRIDE_S: tl.constexpr,
    N: tl.constexpr,
    SIGMOID: tl.constexpr,
    TF32: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_S: tl.constexpr,
):
    """Streamed: gradients of the features and of the weights from one tile."""
    i_split = tl.program_id(0) % splits
    i_b = (tl.program_id(0) // splits).to(tl.int64)
    o_bc = i_b * N * C
    o_bs = i_b * N * S
    p_features += i_b * stride_b
    dtype = p_features.dtype.element_ty
    o_n = tl.arange(0, BLOCK_N)
    o_s = i_split * split_size + tl.arange(0, BLOCK_S)

    b_q = tl.load(p_q + i_b * N + o_n, mask=o_n < N, other=0.0)
    b_t = tl.zeros([BLOCK_S, BLOCK_N], tl.float32)  # (5)
    if p_grad_attention is not None:
        b_t += load(p_grad_attention + o_bs, o_s, o_n, S, N, 1, S)
    if p_grad_parts is not None:
        for i_c in range(0, C, BLOCK_C):
            o_c = i_c + tl.arange(0, BLOCK_C)
            b_f = load(p_features, o_c, o_s, C, S, STRIDE_C, STRIDE_S)
            b_g = load(p_grad_parts + o_bc, o_c, o_n, C, N, 1, C).to(dtype)
            b_t = dot(tl.trans(b_f), b_g, b_t, TF32)
    b_m = load(p_attention + o_bs, o_s, o_n, S, N, 1, S)
    b_z = load(p_scores + o_bs, o_s, o_n, S, N, 1, S)
    b_h = b_m * (b_t - b_q[None, :])
    b_u = (scale * _through(p_competition, b_h, b_z, o_n, power, N, SIGMOID)).to(dtype)  # (7)
    b_m = b_m.to(dtype)

    for i_c in range(0, C, BLOCK_C):
        o_c = i_c + tl.arange(0, BLOCK_C)
        if p_grad_splits is not None:
            b_f = load(p_features, o_c, o_s, C, S, STRIDE_C, STRIDE_S)
            b_grad_d = dot(b_f, b_u, None, TF32)  # (8)
            o_split = i_b * splits + i_split
            store(p_grad_splits + o_split * N * C, b_grad_d, o_c, o_n, C, N, 1, C)
        if p_grad_features is not None:
            b_d = load(p_weights + o_bc, o_c, o_n, C, N, 1, C).to(dtype)
            b_grad = dot(b_d, tl.trans(b_u), None, TF32)  # (9)
            if p_grad_parts is not None:
                b_g = load(p_grad_parts + o_bc, o_c, o_n, C, N, 1, C).to(dtype)
                b_grad = dot(b_g, tl.trans(b_m), b_grad, TF32)
            p_grad = p_grad_features + i_b * grad_stride_b
            store(p_grad, b_grad, o_c, o_s, C, S, GRAD_STRIDE_C, GRAD_STRIDE_S)


@triton.jit
def sum_splits_kernel(
    p_splits,  # (B, splits, length)
    p_sum,  # (B, length)
    length,
    splits,
    BLOCK: tl.constexpr,
):
    """Sum over the splits of an image, in order."""
    blocks = tl.cdiv(length, BLOCK)
    i_b = (tl.program_id(0) // blocks).to(tl.int64)
    o = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    b_sum = tl.zeros([BLOCK], tl.float32)
    for i_split in range(splits):
        b_sum += tl.load(
            p_splits + (i_b * splits + i_split) * length + o, mask=o < length, other=0.0
        )
    tl.store(p_sum + i_b * length + o, b_sum, mask=o < length)


@triton.jit
def _through(p_competition, b_h, b_z, o_n, power, N: tl.constexpr, SIGMOID: tl.constexpr):
    # from the gradient of l to that of z
    b_u = power * _slope(b_z, SIGMOID) * b_h
    if p_competition is not None:
        b_bids, b_everyone = bids(p_competition, b_z, o_n, N)
        b_share = tl.exp(b_bids - b_everyone[:, None])
        b_slope = tl.load(p_competition + o_n, mask=o_n < N, other=0.0)
        b_u += b_slope[None, :] * (b_h - b_share * tl.sum(b_h, axis=1)[:, None])
    return b_u


@triton.jit
def _slope(b_z, SIGMOID: tl.constexpr):
    # d log g / dz, (7)
    if SIGMOID:
        b_r = tl.sigmoid(-b_z)
    else:
        b_s = tl.sigmoid(2.0 * b_z)
        b_t = 2.0 * b_s - 1.0  # tanh(z)
        # 1 - tanh(z)^2 as a product does not cancel
        b_r = tl.sigmoid(b_t) * 4.0 * b_s * tl.sigmoid(-2.0 * b_z) / tl.log(1.0 + tl.exp(b_t))
    return b_r
