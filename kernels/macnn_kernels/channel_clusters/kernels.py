"""Triton kernel of k-means on a Gram matrix; the derivation is in README.md."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton import next_power_of_2

from macnn_kernels.channel_clusters import reference
from macnn_kernels.launch import Config, launch


def cluster(gram: Tensor, starts: Tensor | None, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Return labels (R, C) and inertia (R,) of every restart."""
    C, (R, N) = len(gram), uniforms.shape
    labels = gram.new_empty((R, C), dtype=torch.int32)
    inertia = gram.new_empty(R, dtype=torch.float64)
    launch(
        cluster_kernel,
        lambda _blocks: (R,),
        *(gram.contiguous(), None if starts is None else starts.contiguous(), uniforms),
        *(labels, inertia, C, N),
        configs=_configs(C),
        MAX_ITERATIONS=reference.MAX_ITERATIONS,
    )
    return labels.long(), inertia


def _configs(C: int) -> list[Config]:
    """A block holds all C channels, and as many rows of the Gram matrix as fit in registers."""
    columns = max(16, next_power_of_2(C))
    rows = min(32, 16384 // columns)
    return [Config({"BLOCK_C": columns, "BLOCK_J": rows}, num_warps=16, maxnreg=128)]


@triton.jit
def cluster_kernel(
    p_gram,  # (C, C) int64
    p_starts,  # (R, N) int64, or None for k-means++
    p_uniforms,  # (R, N) float64
    p_labels,  # (R, C) int32
    p_inertia,  # (R,) float64
    C,
    N,
    MAX_ITERATIONS: tl.constexpr,
    BLOCK_C: tl.constexpr,  # at least C
    BLOCK_J: tl.constexpr,
):
    """Labels and inertia of one restart; grid (R,)."""
    i_r = tl.program_id(0).to(tl.int64)
    p_labels += i_r * C
    o_c = tl.arange(0, BLOCK_C)
    m_c = o_c < C
    b_diagonal = tl.load(p_gram + o_c.to(tl.int64) * (C + 1), mask=m_c, other=0)

    # seeding: the squared distance to the nearest start so far is the weight of a channel
    b_label = tl.where(m_c, 0, -1)
    b_weight = m_c.to(tl.int64)
    for k in range(N):
        if p_starts is None:
            start = _draw(b_weight, tl.load(p_uniforms + i_r * N + k), o_c, C).to(tl.int64)
        else:
            start = tl.load(p_starts + i_r * N + k)
        b_distance = b_diagonal + tl.load(p_gram + start * (C + 1))
        b_distance -= 2 * tl.load(p_gram + start * C + o_c, mask=m_c, other=0)
        closer = m_c & ((b_distance < b_weight) | (k == 0))
        b_weight = tl.where(closer, b_distance, b_weight)
        b_label = tl.where(closer, k, b_label)
    b_label = _fill_empty(b_label, b_weight.to(tl.float64), o_c, C, N)

    iterations = 0
    moving = True
    inertia = tl.zeros((), tl.float64)
    while moving:
        tl.store(p_labels + o_c, b_label, mask=m_c)
        tl.debug_barrier()  # other threads read these labels
        inertia = tl.zeros((), tl.float64)
        b_nearest = tl.full((BLOCK_C,), float("inf"), tl.float64)
        b_moved = b_label
        for k in range(N):
            m_k = b_label == k
            n = tl.sum(m_k.to(tl.int64), axis=0)
            b_cross = tl.zeros((BLOCK_C,), tl.int64)
            for i_j in range(0, C, BLOCK_J):
                o_j = i_j + tl.arange(0, BLOCK_J)
                m_j = tl.load(p_labels + o_j, mask=o_j < C, other=-1) == k
                p_rows = p_gram + o_j.to(tl.int64)[:, None] * C + o_c[None, :]
                b_rows = tl.load(p_rows, mask=m_j[:, None] & m_c[None, :], other=0)
                b_cross += tl.sum(b_rows, axis=0)
            within = tl.sum(tl.where(m_k, b_cross, 0), axis=0)
            own = tl.sum(tl.where(m_k, b_diagonal, 0), axis=0)
            inertia += (n * own - within).to(tl.float64) / n.to(tl.float64)
            b_distance = n * n * b_diagonal - 2 * n * b_cross + within
            b_distance = b_distance.to(tl.float64) / (n * n).to(tl.float64)
            closer = m_c & (b_distance < b_nearest)
            b_nearest = tl.where(closer, b_distance, b_nearest)
            b_moved = tl.where(closer, k, b_moved)
        tl.debug_barrier()  # all labels have been read before they are overwritten
        b_moved = _fill_empty(b_moved, b_nearest, o_c, C, N)
        moving = (tl.max((b_moved != b_label).to(tl.int32), axis=0) > 0) & (
            iterations < MAX_ITERATIONS
        )
        iterations += 1
        b_label = tl.where(moving, b_moved, b_label)
    tl.store(p_inertia + i_r, inertia)


@triton.jit
def _draw(b_weight, uniform, o_c, C):
    """The channel at which the running sum of integer weights exceeds `uniform` of the total."""
    b_sum = tl.cumsum(b_weight, axis=0)
    total = tl.sum(b_weight, axis=0)
    target = (uniform * total.to(tl.float64)).to(tl.int64)
    return tl.minimum(tl.sum(((b_sum <= target) & (o_c < C)).to(tl.int32), axis=0), C - 1)


@triton.jit
def _fill_empty(b_label, b_distance, o_c, C, N):
    """Move the channel farthest from its mean into each empty group, but never empty another."""
    for k in range(N):
        if tl.sum((b_label == k).to(tl.int32), axis=0) == 0:
            b_free = tl.where(o_c < C, b_distance, -1.0)
            for j in range(N):
                m_j = b_label == j
                alone = tl.sum(m_j.to(tl.int32), axis=0) == 1
                b_free = tl.where(m_j & alone, -1.0, b_free)
            farthest = tl.min(tl.where(b_free == tl.max(b_free, axis=0), o_c, C), axis=0)
            b_label = tl.where(o_c == farthest, k, b_label)
    return b_label
