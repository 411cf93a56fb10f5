"""Triton kernels of part attention, forward; equation numbers refer to README.md."""

import triton
import triton.language as tl
from torch import Tensor
from triton import cdiv, next_power_of_2

from macnn_kernels.kernels import dot, load, store
from macnn_kernels.launch import Config, launch
from macnn_kernels.part_attention.kernels import bids
from macnn_kernels.part_attention.reference import empty_outputs
from macnn_kernels.part_attention.tiling import constants, tiling


def forward(
    features: Tensor,
    weights: Tensor,
    competition: Tensor | None,
    scale: float,
    activation: str,
    power: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return attention (B, N, H, W), parts (B, N, C) and scores z (B, N, H, W)."""
    B, N, C = weights.shape
    flat = features.flatten(2)  # a view of NCHW and of channels_last
    S = flat.shape[2]
    tiles = tiling(flat)
    attention, parts, scores = empty_outputs(features, weights)
    largest, total = (scores.new_empty(B, tiles.splits, N) for _ in range(2))
    pooled = scores.new_empty(B, tiles.splits, N, C)
    everyone = None if competition is None else scores.new_empty(B, S)
    launch(
        forward_kernel if tiles.resident else forward_streamed_kernel,
        lambda blocks: (B * tiles.splits,),
        *(flat, weights.contiguous(), competition, scores, everyone, largest, total, pooled),
        *(tiles.splits, tiles.split_size, flat.stride(0), scale, power),
        **constants(flat, N, activation),
        # tensor cores need 16 columns; IEEE float32 does not use them and needs no padding
        BLOCK_N=16 if flat.itemsize == 2 else next_power_of_2(N),
        configs=tiles.configs,
    )
    launch(
        normalise_kernel,
        lambda blocks: (B * N * cdiv(max(C, S), blocks["BLOCK"]),),
        *(scores, competition, everyone, largest, total, pooled, attention, parts),
        *(C, S, tiles.splits, power),
        N=N,
        SIGMOID=activation == "sigmoid",
        configs=[Config({"BLOCK": 256})],
    )
    return attention, parts, scores


@triton.jit
def forward_kernel(
    p_features,  # (B, C, S)
    p_weights,  # (B, N, C)
    p_competition,  # (2, N), or None
    p_scores,  # (B, N, S)
    p_everyone,  # (B, S), logarithm of the sum over all bids of their exponentials, or None
    p_largest,  # (B, splits, N), largest log activation of a split
    p_total,  # (B, splits, N), its sum of activations, relative to the largest
    p_pooled,  # (B, splits, N, C), its sum of activations times features
    splits,
    split_size,  # positions of a split, a multiple of BLOCK_S
    stride_b,
    scale,
    power,
    C: tl.constexpr,
    S: tl.constexpr,
    STRIDE_C: tl.constexpr,
    STRIDE_S: tl.constexpr,
    N: tl.constexpr,
    SIGMOID: tl.constexpr,
    TF32: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_S: tl.constexpr,
):
    """Resident: scores and sums of one split, by online softmax."""
    i_split = tl.program_id(0) % splits
    i_b = (tl.program_id(0) // splits).to(tl.int64)
    p_features += i_b * stride_b
    p_scores += i_b * N * S
    o_n = tl.arange(0, BLOCK_N)
    o_c = tl.arange(0, BLOCK_C)

    b_d = load(p_weights + i_b * N * C, o_c, o_n, C, N, 1, C).to(p_features.dtype.element_ty)
    b_largest = tl.full([BLOCK_N], float("-inf"), tl.float32)
    b_total = tl.zeros([BLOCK_N], tl.float32)
    b_pooled = tl.zeros([BLOCK_C, BLOCK_N], tl.float32)
    for i_s in range(
        i_split * split_size, tl.minimum(i_split * split_size + split_size, S), BLOCK_S
    ):
        o_s = i_s + tl.arange(0, BLOCK_S)
        b_f = load(p_features, o_c, o_s, C, S, STRIDE_C, STRIDE_S)
        b_z = scale * dot(tl.trans(b_f), b_d, None, TF32)  # (1)
        store(p_scores, b_z, o_s, o_n, S, N, 1, S)

        b_l = power * _log_g(b_z, SIGMOID)  # (2)
        if p_competition is not None:
            b_bids, b_everyone = bids(p_competition, b_z, o_n, N)
            b_l += b_bids - b_everyone[:, None]
            tl.store(p_everyone + i_b * S + o_s, b_everyone, mask=o_s < S)
        b_l = tl.where((o_s < S)[:, None], b_l, float("-inf"))
        b_peak = tl.maximum(b_largest, tl.max(b_l, axis=0))
        b_a = tl.exp(b_l - b_peak[None, :])
        b_rescale = tl.exp(b_largest - b_peak)
        b_largest = b_peak
        b_total = b_total * b_rescale + tl.sum(b_a, axis=0)
        b_pooled *= b_rescale[None, :]
        b_pooled = dot(b_f, b_a.to(b_f.dtype), b_pooled, TF32)

    o_split = i_b * splits + i_split
    tl.store(p_largest + o_split * N + o_n, b_largest, mask=o_n < N)
    tl.store(p_total + o_split * N + o_n, b_total, mask=o_n < N)
    store(p_pooled + o_split * N * C, b_pooled, o_c, o_n, C, N, 1, C)


@triton.jit
def forward_streamed_kernel(
    p_features,  # (B, C, S)
    p_weights,  # (B, N, C)
    p_competition,  # (2, N), or None
    p_scores,  # (B, N, S)
    p_everyone,  # (B, S), logarithm of the sum over all bids of their exponentials, or None
    p_largest,  # (B, splits, N)
    p_total,  # (B, splits, N)
    p_pooled,  # (B, splits, N, C)
    splits,
    split_size,  # positions of a split: one tile
    stride_b,
    scale,
    power,
    C: tl.constexpr,
    S: tl.constexpr,
    STRIDE_C: tl.constexpr,
    STRIDE_S: tl.constexpr,
    N: tl.constexpr,
    SIGMOID: tl.constexpr,
    TF32: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_S: tl.constexpr,
):
    """Streamed: scores and sums of one tile."""
    i_split = tl.program_id(0) % splits
    i_b = (tl.program_id(0) // splits).to(tl.int64)
    p_features += i_b * stride_b
    p_weights += i_b * N * C
    o_n = tl.arange(0, BLOCK_N)
    o_s = i_split * split_size + tl.arange(0, BLOCK_S)

    b_z = tl.zeros([BLOCK_S, BLOCK_N], tl.float32)
    for i_c in range(0, C, BLOCK_C):
        o_c = i_c + tl.arange(0, BLOCK_C)
        b_f = load(p_features, o_c, o_s, C, S, STRIDE_C, STRIDE_S)
        b_d = load(p_weights, o_c, o_n, C, N, 1, C).to(b_f.dtype)
        b_z = dot(tl.trans(b_f), b_d, b_z, TF32)
    b_z *= scale  # (1)
    store(p_scores + i_b * N * S, b_z, o_s, o_n, S, N, 1, S)

    b_l = power * _log_g(b_z, SIGMOID)  # (2)
    if p_competition is not None:
        b_bids, b_everyone = bids(p_competition, b_z, o_n, N)
        b_l += b_bids - b_everyone[:, None]
        tl.store(p_everyone + i_b * S + o_s, b_everyone, mask=o_s < S)
    b_l = tl.where((o_s < S)[:, None], b_l, float("-inf"))
    b_largest = tl.max(b_l, axis=0)
    b_a = tl.exp(b_l - b_largest[None, :])
    o_split = i_b * splits + i_split
    tl.store(p_largest + o_split * N + o_n, b_largest, mask=o_n < N)
    tl.store(p_total + o_split * N + o_n, tl.sum(b_a, axis=0), mask=o_n < N)

    b_a = b_a.to(p_features.dtype.element_ty)
    for i_c in range(0, C, BLOCK_C):
        o_c = i_c + tl.arange(0, BLOCK_C)
        b_f = load(p_features, o_c, o_s, C, S, STRIDE_C, STRIDE_S)
        b_pooled = dot(b_f, b_a, None, TF32)
        store(p_pooled + o_split * N * C, b_pooled, o_c, o_n, C, N, 1, C)


@triton.jit
def normalise_kernel(
    p_scores,  # (B, N, S)
    p_competition,  # (2, N), or None
    p_everyone,  # (B, S), or None
    p_largest,  # (B, splits, N)
    p_total,  # (B, splits, N)
    p_pooled,  # (B, splits, N, C)
    p_attention,  # (B, N, S)
    p_parts,  # (B, N, C)
    C,
    S,
    splits,
    power,
    N: tl.constexpr,
    SIGMOID: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Combine the splits: attention and feature of one part in one block; (3), (4)."""
    blocks = tl.cdiv(tl.maximum(C, S), BLOCK)
    i_block = tl.program_id(0) % blocks
    i_bn = (tl.program_id(0) // blocks).to(tl.int64)
    o_split = (i_bn // N) * splits * N + i_bn % N  # of the first split
    o = i_block * BLOCK + tl.arange(0, BLOCK)

    largest = float("-inf")
    for i_split in range(splits):
        largest = tl.maximum(largest, tl.load(p_largest + o_split + i_split * N))
    total = 0.0
    b_parts = tl.zeros([BLOCK], tl.float32)
    for i_split in range(splits):
        o_i = o_split + i_split * N
        rescale = tl.exp(tl.load(p_largest + o_i) - largest)
        total += rescale * tl.load(p_total + o_i)
        b_parts += rescale * tl.load(p_pooled + o_i * C + o, mask=o < C, other=0.0)
    tl.store(p_parts + i_bn * C + o, b_parts / total, mask=o < C)  # (4)

    b_z = tl.load(p_scores + i_bn * S + o, mask=o < S, other=0.0)
    b_l = power * _log_g(b_z, SIGMOID)
    if p_competition is not None:
        i_n = i_bn % N
        b_everyone = tl.load(p_everyone + (i_bn // N) * S + o, mask=o < S, other=0.0)
        b_l += tl.load(p_competition + i_n) * b_z + tl.load(p_competition + N + i_n) - b_everyone
    b_m = tl.exp(b_l - largest) / total  # (3)
    tl.store(p_attention + i_bn * S + o, b_m, mask=o < S)


@triton.jit
def _log_g(b_z, SIGMOID: tl.constexpr):
    # (2); absolute accuracy is enough, since a softmax follows
    if SIGMOID:
        b_l = tl.minimum(b_z, 0.0) - tl.log(1.0 + tl.exp(-tl.abs(b_z)))
    else:
        b_l = tl.log(tl.log(1.0 + tl.exp(2.0 * tl.sigmoid(2.0 * b_z) - 1.0)))
    return b_l
