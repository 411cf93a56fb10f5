"""Triton functions that several operators share."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from macnn_kernels import backend

_INTERPRETED = tl.constexpr(backend.interpreted())


def allows_tf32(x: Tensor) -> bool:
    """Whether products with `x` may use TF32: it is float32, and PyTorch allows it for matmul."""
    return x.dtype == torch.float32 and torch.backends.cuda.matmul.fp32_precision == "tf32"


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
    """`b_sum + b_x @ b_y`, summed in float32; float32 factors are rounded only if TF32."""
    if _INTERPRETED:  # its dot would multiply bfloat16 as bit patterns
        b_x = b_x.to(tl.float32)
        b_y = b_y.to(tl.float32)
    return tl.dot(b_x, b_y, b_sum, input_precision="tf32" if TF32 else "ieee")
