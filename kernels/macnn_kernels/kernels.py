"""Triton functions shared by the kernels of several operators."""

import triton
import triton.language as tl

from macnn_kernels import backend

_INTERPRETED = tl.constexpr(backend.interpreted())


@triton.jit
def load(p_x, o_m, o_n, M, N, stride_m, stride_n):
    """Block [o_m, o_n] of the matrix (M, N) at `p_x`, zero outside it."""
    m = (o_m < M)[:, None] & (o_n < N)[None, :]
    o = o_m[:, None].to(tl.int64) * stride_m + o_n[None, :].to(tl.int64) * stride_n
    return tl.load(p_x + o, mask=m, other=0.0)


@triton.jit
def store(p_x, b_x, o_m, o_n, M, N, stride_m, stride_n):
    """Write `b_x` to block [o_m, o_n] of the matrix (M, N) at `p_x`."""
    m = (o_m < M)[:, None] & (o_n < N)[None, :]
    o = o_m[:, None].to(tl.int64) * stride_m + o_n[None, :].to(tl.int64) * stride_n
    tl.store(p_x + o, b_x, mask=m)


@triton.jit
def dot(b_x, b_y, b_sum, TF32: tl.constexpr):
    """`b_sum + b_x @ b_y` in float32, where float32 factors keep all their bits but for TF32."""
    if _INTERPRETED:  # the interpreter would multiply the bit patterns of bfloat16
        b_x = b_x.to(tl.float32)
        b_y = b_y.to(tl.float32)
    return tl.dot(b_x, b_y, b_sum, input_precision="tf32" if TF32 else "ieee")
