"""Triton kernels of the grouping loss; equation numbers refer to README.md."""

import triton
import triton.language as tl
from torch import Tensor
from triton import cdiv, next_power_of_2

from macnn_kernels.grouping_loss.reference import empty_outputs
from macnn_kernels.launch import Config, launch


def forward(attention: Tensor, margin: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return Dis (B, N), Div (B, N) and the peaks (B, N) as flat positions."""
    B, N, H, W = attention.shape
    distance, diversity, peak = empty_outputs(attention)
    launch(
        forward_kernel,
        lambda blocks: (B,),
        *(attention, distance, diversity, peak),
        *(H * W, W, *attention.stride(), margin),
        N=N,
        configs=_configs(N, H * W, elements=4096),
    )
    return distance, diversity, peak


def backward(
    grad_distance: Tensor, grad_diversity: Tensor, attention: Tensor, peak: Tensor, margin: float
) -> Tensor:
    """Return the gradient of the maps (B, N, H, W)."""
    B, N, H, W = attention.shape
    grad = attention.new_empty(attention.shape)
    launch(
        backward_kernel,
        lambda blocks: (B * cdiv(H * W, blocks["BLOCK_S"]),),
        *(grad_distance.contiguous(), grad_diversity.contiguous(), attention, peak, grad),
        *(H * W, W, *attention.stride(), margin),
        N=N,
        configs=_configs(N, H * W, elements=1024),
    )
    return grad


def _configs(N: int, S: int, *, elements: int) -> list[Config]:
    """Tiles of all parts by as many positions as make about `elements`."""
    block_n = next_power_of_2(N)
    block_s = min(next_power_of_2(S), max(16, elements // block_n))
    return [
        Config({"BLOCK_N": block_n, "BLOCK_S": block_s}, num_warps=warps) for warps in (4, 8, 2)
    ]


@triton.jit
def forward_kernel(
    p_attention,  # (B, N, H, W) with strides
    p_distance,  # (B, N)
    p_diversity,  # (B, N)
    p_peak,  # (B, N) int32
    S,  # positions, H * W
    W,
    stride_b,
    stride_n,
    stride_h,
    stride_w,
    margin,
    N: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_S: tl.constexpr,
):
    """Both terms of one image; Dis in a second pass, once the peaks are known. Grid (B,)."""
    i_b = tl.program_id(0).to(tl.int64)
    o_n = tl.arange(0, BLOCK_N)
    m_n = o_n < N
    p_map = p_attention + i_b * stride_b + o_n[:, None].to(tl.int64) * stride_n

    b_best = tl.full([BLOCK_N], float("-inf"), tl.float32)
    b_peak = tl.zeros([BLOCK_N], tl.int32)
    b_diversity = tl.zeros([BLOCK_N], tl.float32)
    for i_s in range(0, S, BLOCK_S):
        o_s = i_s + tl.arange(0, BLOCK_S)
        m = m_n[:, None] & (o_s < S)[None, :]
        o = (o_s // W).to(tl.int64) * stride_h + (o_s % W).to(tl.int64) * stride_w
        b_m = tl.load(p_map + o[None, :], mask=m, other=float("-inf")).to(tl.float32)

        b_largest = tl.max(b_m, axis=1)
        b_at = tl.min(tl.where(b_m == b_largest[:, None], o_s[None, :], S), axis=1)
        b_peak = tl.where(b_largest > b_best, b_at, b_peak)
        b_best = tl.maximum(b_best, b_largest)

        b_rival, _, _ = _rivals(b_m, o_n, N)
        b_diversity += tl.sum(tl.where(m, b_m * (b_rival - margin), 0.0), axis=1)  # (2)

    b_distance = tl.zeros([BLOCK_N], tl.float32)
    for i_s in range(0, S, BLOCK_S):
        o_s = i_s + tl.arange(0, BLOCK_S)
        m = m_n[:, None] & (o_s < S)[None, :]
        o = (o_s // W).to(tl.int64) * stride_h + (o_s % W).to(tl.int64) * stride_w
        b_m = tl.load(p_map + o[None, :], mask=m, other=0.0).to(tl.float32)
        b_distance += tl.sum(b_m * _squared_distance(o_s, b_peak, W), axis=1)  # (1)

    tl.store(p_distance + i_b * N + o_n, b_distance, mask=m_n)
    tl.store(p_diversity + i_b * N + o_n, b_diversity, mask=m_n)
    tl.store(p_peak + i_b * N + o_n, b_peak, mask=m_n)


@triton.jit
def backward_kernel(
    p_grad_distance,  # (B, N)
    p_grad_diversity,  # (B, N)
    p_attention,  # (B, N, H, W) with strides
    p_peak,  # (B, N) int32
    p_grad,  # (B, N, H, W)
    S,
    W,
    stride_b,
    stride_n,
    stride_h,
    stride_w,
    margin,
    N: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_S: tl.constexpr,
):
    """Gradient of all maps at BLOCK_S positions of one image; grid (B * cdiv(S, BLOCK_S),)."""
    blocks = tl.cdiv(S, BLOCK_S)
    i_b = (tl.program_id(0) // blocks).to(tl.int64)
    o_s = tl.program_id(0) % blocks * BLOCK_S + tl.arange(0, BLOCK_S)
    o_n = tl.arange(0, BLOCK_N)
    m_n = o_n < N
    m = m_n[:, None] & (o_s < S)[None, :]

    o = (o_s // W).to(tl.int64) * stride_h + (o_s % W).to(tl.int64) * stride_w
    p_map = p_attention + i_b * stride_b + o_n[:, None].to(tl.int64) * stride_n
    b_m = tl.load(p_map + o[None, :], mask=m, other=float("-inf")).to(tl.float32)
    b_peak = tl.load(p_peak + i_b * N + o_n, mask=m_n, other=0)
    b_grad_distance = tl.load(p_grad_distance + i_b * N + o_n, mask=m_n, other=0.0)
    b_grad_diversity = tl.load(p_grad_diversity + i_b * N + o_n, mask=m_n, other=0.0)

    b_rival, m_first, m_second = _rivals(b_m, o_n, N)
    b_grad = b_grad_distance[:, None] * _squared_distance(o_s, b_peak, W)  # (3)
    b_grad += b_grad_diversity[:, None] * (b_rival - margin)  # (4)
    # (5): the largest map is the rival of all others, the second largest that of the largest
    b_weighted = tl.where(m, b_grad_diversity[:, None] * b_m, 0.0)
    b_others = tl.sum(tl.where(m_first, 0.0, b_weighted), axis=0)
    b_leader = tl.sum(tl.where(m_first, b_weighted, 0.0), axis=0)
    b_grad += tl.where(m_first, b_others[None, :], 0.0)
    b_grad += tl.where(m_second, b_leader[None, :], 0.0)
    tl.store(p_grad + (i_b * N + o_n[:, None]) * S + o_s[None, :], b_grad, mask=m)


@triton.jit
def _rivals(b_m, o_n, N: tl.constexpr):
    """Maximum of the other parts for every part; masks of the largest and second largest part."""
    b_top = tl.max(b_m, axis=0)
    # ties go to the first part
    b_first = tl.min(tl.where(b_m == b_top[None, :], o_n[:, None], N), axis=0)
    m_first = o_n[:, None] == b_first[None, :]
    b_rest = tl.where(m_first, float("-inf"), b_m)
    b_next = tl.max(b_rest, axis=0)
    b_second = tl.min(tl.where((b_rest == b_next[None, :]) & ~m_first, o_n[:, None], N), axis=0)
    b_rival = tl.where(m_first, b_next[None, :], b_top[None, :])
    if N == 1:
        b_rival = tl.zeros_like(b_m)
    return b_rival, m_first, o_n[:, None] == b_second[None, :]


@triton.jit
def _squared_distance(o_s, b_peak, W):
    """(x - tx)^2 + (y - ty)^2 in squared cells, [BLOCK_N, BLOCK_S]."""
    b_dx = (o_s[None, :] % W - b_peak[:, None] % W).to(tl.float32)
    b_dy = (o_s[None, :] // W - b_peak[:, None] // W).to(tl.float32)
    return b_dx * b_dx + b_dy * b_dy
