"""Triton kernels of part attention; equation numbers refer to README.md.

The features of an image are a matrix of C channels by S positions, walked in tiles of BLOCK_S
positions. Each direction has two forms. Resident: a block holds all channels of a tile, is read
once and used twice while on chip, and a program walks a run of tiles with its sums in registers.
Streamed: a program has one tile, a run of one, and reads its blocks of channels twice, the second
time from the cache. The sums of the runs of an image are combined by a second kernel, in order.
"""

import triton
import triton.language as tl

from macnn_kernels.kernels import dot, load, store


@triton.jit
def _log_g(b_z, SIGMOID: tl.constexpr):
    # (2); absolute accuracy is enough, a softmax follows
    if SIGMOID:
        b_l = tl.minimum(b_z, 0.0) - tl.log(1.0 + tl.exp(-tl.abs(b_z)))
    else:
        b_l = tl.log(tl.log(1.0 + tl.exp(2.0 * tl.sigmoid(2.0 * b_z) - 1.0)))
    return b_l


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


@triton.jit
def forward(
    p_features,  # (B, C, S)
    p_weights,  # (B, N, C)
    p_scores,  # (B, N, S)
    p_largest,  # (B, runs, N), largest log activation of a run
    p_total,  # (B, runs, N), its sum of activations, relative to the largest
    p_pooled,  # (B, runs, N, C), its sum of activations times features
    runs,
    run,  # positions of a run, a multiple of BLOCK_S
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
    """Resident: scores and sums of one run, rescaled as the largest grows (online softmax)."""
    i_run = tl.program_id(0) % runs
    i_b = (tl.program_id(0) // runs).to(tl.int64)
    p_features += i_b * stride_b
    p_scores += i_b * N * S
    o_n = tl.arange(0, BLOCK_N)
    o_c = tl.arange(0, BLOCK_C)

    b_d = load(p_weights + i_b * N * C, o_c, o_n, C, N, 1, C).to(p_features.dtype.element_ty)
    b_largest = tl.full([BLOCK_N], float("-inf"), tl.float32)
    b_total = tl.zeros([BLOCK_N], tl.float32)
    b_pooled = tl.zeros([BLOCK_C, BLOCK_N], tl.float32)
    for i_s in range(i_run * run, tl.minimum(i_run * run + run, S), BLOCK_S):
        o_s = i_s + tl.arange(0, BLOCK_S)
        b_f = load(p_features, o_c, o_s, C, S, STRIDE_C, STRIDE_S)
        b_z = scale * dot(tl.trans(b_f), b_d, None, TF32)  # (1)
        store(p_scores, b_z, o_s, o_n, S, N, 1, S)

        b_l = tl.where((o_s < S)[:, None], power * _log_g(b_z, SIGMOID), float("-inf"))  # (2)
        b_peak = tl.maximum(b_largest, tl.max(b_l, axis=0))
        b_a = tl.exp(b_l - b_peak[None, :])
        b_fade = tl.exp(b_largest - b_peak)
        b_largest = b_peak
        b_total = b_total * b_fade + tl.sum(b_a, axis=0)
        b_pooled *= b_fade[None, :]
        b_pooled = dot(b_f, b_a.to(b_f.dtype), b_pooled, TF32)

    o_run = i_b * runs + i_run
    tl.store(p_largest + o_run * N + o_n, b_largest, mask=o_n < N)
    tl.store(p_total + o_run * N + o_n, b_total, mask=o_n < N)
    store(p_pooled + o_run * N * C, b_pooled, o_c, o_n, C, N, 1, C)


@triton.jit
def forward_streamed(
    p_features,  # (B, C, S)
    p_weights,  # (B, N, C)
    p_scores,  # (B, N, S)
    p_largest,  # (B, runs, N)
    p_total,  # (B, runs, N)
    p_pooled,  # (B, runs, N, C)
    runs,
    run,  # positions of a run: one tile
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
    i_run = tl.program_id(0) % runs
    i_b = (tl.program_id(0) // runs).to(tl.int64)
    p_features += i_b * stride_b
    p_weights += i_b * N * C
    o_n = tl.arange(0, BLOCK_N)
    o_s = i_run * run + tl.arange(0, BLOCK_S)

    b_z = tl.zeros([BLOCK_S, BLOCK_N], tl.float32)
    for i_c in range(0, C, BLOCK_C):
        o_c = i_c + tl.arange(0, BLOCK_C)
        b_f = load(p_features, o_c, o_s, C, S, STRIDE_C, STRIDE_S)
        b_d = load(p_weights, o_c, o_n, C, N, 1, C).to(b_f.dtype)
        b_z = dot(tl.trans(b_f), b_d, b_z, TF32)
    b_z *= scale  # (1)
    store(p_scores + i_b * N * S, b_z, o_s, o_n, S, N, 1, S)

    b_l = tl.where((o_s < S)[:, None], power * _log_g(b_z, SIGMOID), float("-inf"))  # (2)
    b_largest = tl.max(b_l, axis=0)
    b_a = tl.exp(b_l - b_largest[None, :])
    o_run = i_b * runs + i_run
    tl.store(p_largest + o_run * N + o_n, b_largest, mask=o_n < N)
    tl.store(p_total + o_run * N + o_n, tl.sum(b_a, axis=0), mask=o_n < N)

    b_a = b_a.to(p_features.dtype.element_ty)
    for i_c in range(0, C, BLOCK_C):
        o_c = i_c + tl.arange(0, BLOCK_C)
        b_f = load(p_features, o_c, o_s, C, S, STRIDE_C, STRIDE_S)
        b_pooled = dot(b_f, b_a, None, TF32)
        store(p_pooled + o_run * N * C, b_pooled, o_c, o_n, C, N, 1, C)


@triton.jit
def normalise(
    p_scores,  # (B, N, S)
    p_largest,  # (B, runs, N)
    p_total,  # (B, runs, N)
    p_pooled,  # (B, runs, N, C)
    p_attention,  # (B, N, S)
    p_parts,  # (B, N, C)
    C,
    S,
    runs,
    power,
    N: tl.constexpr,
    SIGMOID: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One block of positions and one of channels of one part: divide by the sum over all runs."""
    blocks = tl.cdiv(tl.maximum(C, S), BLOCK)
    i_block = tl.program_id(0) % blocks
    i_bn = (tl.program_id(0) // blocks).to(tl.int64)
    o_run = (i_bn // N) * runs * N + i_bn % N  # of the first run
    o = i_block * BLOCK + tl.arange(0, BLOCK)

    largest = float("-inf")
    for i_run in range(runs):
        largest = tl.maximum(largest, tl.load(p_largest + o_run + i_run * N))
    total = 0.0
    b_parts = tl.zeros([BLOCK], tl.float32)
    for i_run in range(runs):
        o_i = o_run + i_run * N
        fade = tl.exp(tl.load(p_largest + o_i) - largest)
        total += fade * tl.load(p_total + o_i)
        b_parts += fade * tl.load(p_pooled + o_i * C + o, mask=o < C, other=0.0)
    tl.store(p_parts + i_bn * C + o, b_parts / total, mask=o < C)  # (4)

    b_z = tl.load(p_scores + i_bn * S + o, mask=o < S, other=0.0)
    b_m = tl.exp(power * _log_g(b_z, SIGMOID) - largest) / total  # (3)
    tl.store(p_attention + i_bn * S + o, b_m, mask=o < S)


@triton.jit
def pivot(
    p_attention,  # (B, N, S)
    p_grad_attention,  # (B, N, S), or None
    p_parts,  # (B, N, C)
    p_grad_parts,  # (B, N, C), or None
    p_features,  # its dtype alone
    p_q,  # (B, N)
    C,
    S,
    BLOCK: tl.constexpr,
):
    """What the softmax subtracts, of one part of one image; (6). Grid (B * N,)."""
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
            # as rounded as in (5), so that t and q still cancel
            b_q += b_p * b_g.to(p_features.dtype.element_ty).to(tl.float32)
    tl.store(p_q + i_bn, tl.sum(b_q, axis=0))


@triton.jit
def backward(
    p_grad_attention,  # (B, N, S), or None
    p_grad_parts,  # (B, N, C), or None
    p_features,  # (B, C, S)
    p_weights,  # (B, N, C)
    p_attention,  # (B, N, S)
    p_scores,  # (B, N, S)
    p_q,  # (B, N)
    p_grad_features,  # (B, C, S), or None
    p_grad_runs,  # (B, runs, N, C), gradient of the weights from each run, or None
    runs,
    run,  # positions of a run, a multiple of BLOCK_S
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
    """Resident: gradient of the features at one run, and its share of that of the weights."""
    i_run = tl.program_id(0) % runs
    i_b = (tl.program_id(0) // runs).to(tl.int64)
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
    if p_grad_runs is not None:
        b_grad_d = tl.zeros([BLOCK_C, BLOCK_N], tl.float32)

    for i_s in range(i_run * run, tl.minimum(i_run * run + run, S), BLOCK_S):
        o_s = i_s + tl.arange(0, BLOCK_S)
        if p_grad_parts is not None or p_grad_runs is not None:
            b_f = load(p_features + i_b * stride_b, o_c, o_s, C, S, STRIDE_C, STRIDE_S)
        b_t = tl.zeros([BLOCK_S, BLOCK_N], tl.float32)  # (5)
        if p_grad_attention is not None:
            b_t += load(p_grad_attention + o_bs, o_s, o_n, S, N, 1, S)
        if p_grad_parts is not None:
            b_t = dot(tl.trans(b_f), b_g, b_t, TF32)
        b_m = load(p_attention + o_bs, o_s, o_n, S, N, 1, S)
        b_z = load(p_scores + o_bs, o_s, o_n, S, N, 1, S)
        b_u = (scale * power * _slope(b_z, SIGMOID) * b_m * (b_t - b_q[None, :])).to(dtype)  # (7)

        if p_grad_runs is not None:
            b_grad_d = dot(b_f, b_u, b_grad_d, TF32)  # (8)
        if p_grad_features is not None:
            b_grad = dot(b_d, tl.trans(b_u), None, TF32)  # (9)
            if p_grad_parts is not None:
                b_grad = dot(b_g, tl.trans(b_m.to(dtype)), b_grad, TF32)
            store(
                p_grad_features + i_b * grad_stride_b,
                b_grad,
                o_c,
                o_s,
                C,
                S,
                GRAD_STRIDE_C,
                GRAD_STRIDE_S,
            )

    if p_grad_runs is not None:
        o_run = i_b * runs + i_run
        store(p_grad_runs + o_run * N * C, b_grad_d, o_c, o_n, C, N, 1, C)


@triton.jit
def backward_streamed(
    p_grad_attention,  # (B, N, S), or None
    p_grad_parts,  # (B, N, C), or None
    p_features,  # (B, C, S)
    p_weights,  # (B, N, C)
    p_attention,  # (B, N, S)
    p_scores,  # (B, N, S)
    p_q,  # (B, N)
    p_grad_features,  # (B, C, S), or None
    p_grad_runs,  # (B, runs, N, C), gradient of the weights from each run, or None
    runs,
    run,  # positions of a run: one tile
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
    """Streamed: gradient of the features at one tile, and its share of that of the weights."""
    i_run = tl.program_id(0) % runs
    i_b = (tl.program_id(0) // runs).to(tl.int64)
    o_bc = i_b * N * C
    o_bs = i_b * N * S
    p_features += i_b * stride_b
    dtype = p_features.dtype.element_ty
    o_n = tl.arange(0, BLOCK_N)
    o_s = i_run * run + tl.arange(0, BLOCK_S)

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
    b_u = (scale * power * _slope(b_z, SIGMOID) * b_m * (b_t - b_q[None, :])).to(dtype)  # (7)
    b_m = b_m.to(dtype)

    for i_c in range(0, C, BLOCK_C):
        o_c = i_c + tl.arange(0, BLOCK_C)
        if p_grad_runs is not None:
            b_f = load(p_features, o_c, o_s, C, S, STRIDE_C, STRIDE_S)
            b_grad_d = dot(b_f, b_u, None, TF32)  # (8)
            o_run = i_b * runs + i_run
            store(p_grad_runs + o_run * N * C, b_grad_d, o_c, o_n, C, N, 1, C)
        if p_grad_features is not None:
            b_d = load(p_weights + o_bc, o_c, o_n, C, N, 1, C).to(dtype)
            b_grad = dot(b_d, tl.trans(b_u), None, TF32)  # (9)
            if p_grad_parts is not None:
                b_g = load(p_grad_parts + o_bc, o_c, o_n, C, N, 1, C).to(dtype)
                b_grad = dot(b_g, tl.trans(b_m), b_grad, TF32)
            store(
                p_grad_features + i_b * grad_stride_b,
                b_grad,
                o_c,
                o_s,
                C,
                S,
                GRAD_STRIDE_C,
                GRAD_STRIDE_S,
            )


@triton.jit
def sum_runs(
    p_runs,  # (B, runs, length)
    p_sum,  # (B, length)
    length,
    runs,
    BLOCK: tl.constexpr,
):
    """Sum over the runs of an image, in order."""
    blocks = tl.cdiv(length, BLOCK)
    i_b = (tl.program_id(0) // blocks).to(tl.int64)
    o = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    b_sum = tl.zeros([BLOCK], tl.float32)
    for i_run in range(runs):
        b_sum += tl.load(p_runs + (i_b * runs + i_run) * length + o, mask=o < length, other=0.0)
    tl.store(p_sum + i_b * length + o, b_sum, mask=o < length)
