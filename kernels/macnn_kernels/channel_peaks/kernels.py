"""Triton kernels of channel peaks and their Gram matrix; the derivation is in README.md."""

import triton
import triton.language as tl
from torch import Tensor
from triton import cdiv, next_power_of_2

from macnn_kernels.channel_peaks.reference import empty_peaks
from macnn_kernels.launch import Config, launch

# the most images for which int32 sums in the Gram kernel cannot overflow, see README.md
IMAGES_PER_LAUNCH = 2**15


def channel_peaks(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return column, row and value (B, C) of the largest response of every channel."""
    B, C, H, W = features.shape
    maps = features.flatten(2)  # a view of NCHW and of channels_last
    x, y, value = empty_peaks(features)
    launch(
        peaks_kernel,
        lambda blocks: (B * cdiv(C, blocks["BLOCK_C"]),),
        *(maps, x, y, value),
        *(C, H * W, W),
        *maps.stride(),
        configs=_configs(H * W, channels_last=maps.stride(1) == 1),
    )
    return x, y, value


def _configs(S: int, *, channels_last: bool) -> list[Config]:
    """Tiles of 2048 elements, long along the dimension that is contiguous in memory."""

    def tile(c: int, s: int) -> Config:
        return Config({"BLOCK_C": c, "BLOCK_S": min(s, next_power_of_2(S))})

    if channels_last:
        return [tile(32, 64), tile(64, 32), tile(64, 64), tile(32, 128)]
    if S <= 64:
        return [tile(32, 64), tile(64, 64), tile(16, 64)]
    return [tile(16, 128), tile(8, 256), tile(4, 1024), tile(16, 256)]


@triton.jit
def peaks_kernel(
    p_features,  # (B, C, S) with strides
    p_x,  # (B, C) int32
    p_y,  # (B, C) int32
    p_value,  # (B, C)
    C,
    S,  # positions, H * W; as one argument, Triton sees whether it is a multiple of 16
    W,
    stride_b,
    stride_c,
    stride_s,
    BLOCK_C: tl.constexpr,
    BLOCK_S: tl.constexpr,
):
    """Peaks of BLOCK_C channels of one image; grid (B * cdiv(C, BLOCK_C),)."""
    n_c = tl.cdiv(C, BLOCK_C)
    i_b = (tl.program_id(0) // n_c).to(tl.int64)
    i_c = tl.program_id(0) % n_c
    o_c = i_c * BLOCK_C + tl.arange(0, BLOCK_C)
    m_c = o_c < C
    p_row = p_features + i_b * stride_b + o_c.to(tl.int64)[:, None] * stride_c

    # each lane keeps the first of the largest values it has seen; NaN is larger than any number
    b_best = tl.full((BLOCK_C, BLOCK_S), float("-inf"), tl.float32)
    b_at = tl.zeros((BLOCK_C, BLOCK_S), tl.int32)
    for i_s in range(0, S, BLOCK_S):
        o_s = i_s + tl.arange(0, BLOCK_S)[None, :]
        m = m_c[:, None] & (o_s < S)
        b_f = tl.load(p_row + o_s.to(tl.int64) * stride_s, mask=m, other=float("-inf"))
        b_f = b_f.to(tl.float32)
        larger = (b_f > b_best) | ((b_f != b_f) & (b_best == b_best))
        b_best = tl.where(larger, b_f, b_best)
        b_at = tl.where(larger, o_s, b_at)

    m_nan = b_best != b_best
    b_value = tl.max(tl.where(m_nan, float("-inf"), b_best), axis=1)
    b_first = tl.min(tl.where(b_best == b_value[:, None], b_at, S), axis=1)
    b_first_nan = tl.min(tl.where(m_nan, b_at, S), axis=1)
    m_nan_row = b_first_nan < S
    b_value = tl.where(m_nan_row, float("nan"), b_value)
    b_first = tl.where(m_nan_row, b_first_nan, b_first)

    m_dead = b_value <= 0
    o_out = i_b * C + o_c
    tl.store(p_x + o_out, tl.where(m_dead, W // 2, b_first % W), mask=m_c)
    tl.store(p_y + o_out, tl.where(m_dead, S // W // 2, b_first // W), mask=m_c)
    tl.store(p_value + o_out, b_value.to(p_value.dtype.element_ty), mask=m_c)


def peak_gram(x: Tensor, y: Tensor, gram: Tensor) -> None:
    """Add `sum_b tx tx' + ty ty'` to `gram` (C, C)."""
    C = x.shape[1]
    for start in range(0, len(x), IMAGES_PER_LAUNCH):
        part = slice(start, start + IMAGES_PER_LAUNCH)
        launch(
            gram_kernel,
            lambda blocks: (cdiv(C, blocks["BLOCK_C"]),) * 2,
            *(x[part].contiguous(), y[part].contiguous(), gram, len(x[part]), C),
            configs=[Config({"BLOCK_B": 32, "BLOCK_C": 32})],
        )


@triton.jit
def gram_kernel(
    p_x,  # (B, C) int32
    p_y,  # (B, C) int32
    p_gram,  # (C, C) int64
    B,
    C,
    BLOCK_B: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """One tile of the Gram matrix, added to what is there; grid (tiles, tiles)."""
    o_m = tl.program_id(0).to(tl.int64) * BLOCK_C + tl.arange(0, BLOCK_C)
    o_n = tl.program_id(1).to(tl.int64) * BLOCK_C + tl.arange(0, BLOCK_C)
    m_m = (o_m < C)[:, None]
    m_n = (o_n < C)[None, :]

    # sums of products of 7-bit digits: high by high, high by low both ways, low by low
    b_hh = tl.zeros((BLOCK_C, BLOCK_C), tl.int32)
    b_hl = tl.zeros((BLOCK_C, BLOCK_C), tl.int32)
    b_ll = tl.zeros((BLOCK_C, BLOCK_C), tl.int32)
    for i_b in range(0, B, BLOCK_B):
        o_b = (i_b + tl.arange(0, BLOCK_B)).to(tl.int64)
        m_b = o_b < B
        o_bm = o_b[None, :] * C + o_m[:, None]
        o_bn = o_b[:, None] * C + o_n[None, :]
        for axis in tl.static_range(2):
            p_t = p_x if axis == 0 else p_y
            b_m = tl.load(p_t + o_bm, mask=m_m & m_b[None, :], other=0)
            b_n = tl.load(p_t + o_bn, mask=m_n & m_b[:, None], other=0)
            b_mh, b_ml = (b_m >> 7).to(tl.int8), (b_m & 127).to(tl.int8)
            b_nh, b_nl = (b_n >> 7).to(tl.int8), (b_n & 127).to(tl.int8)
            b_hh = tl.dot(b_mh, b_nh, b_hh, out_dtype=tl.int32)
            b_hl = tl.dot(b_mh, b_nl, b_hl, out_dtype=tl.int32)
            b_hl = tl.dot(b_ml, b_nh, b_hl, out_dtype=tl.int32)
            b_ll = tl.dot(b_ml, b_nl, b_ll, out_dtype=tl.int32)

    b_sum = (b_hh.to(tl.int64) << 14) + (b_hl.to(tl.int64) << 7) + b_ll
    p_out = p_gram + o_m[:, None] * C + o_n[None, :]
    tl.store(p_out, tl.load(p_out, mask=m_m & m_n) + b_sum, mask=m_m & m_n)
