"""What parts bid for a position, for the kernels of both directions; (2) in README.md."""

import triton
import triton.language as tl


@triton.jit
def bids(p_competition, b_z, o_n, N: tl.constexpr):
    """Bids (BLOCK_S, BLOCK_N), and the logsumexp (BLOCK_S,) of those of N parts and the background.

    The background bids 0. Nothing overflows: the largest bid is taken off before.
    """
    b_slope = tl.load(p_competition + o_n, mask=o_n < N, other=0.0)
    b_offset = tl.load(p_competition + N + o_n, mask=o_n < N, other=0.0)
    b_bids = b_slope[None, :] * b_z + b_offset[None, :]
    b_most = tl.maximum(tl.max(b_bids, axis=1), 0.0)
    b_each = tl.where((o_n < N)[None, :], tl.exp(b_bids - b_most[:, None]), 0.0)
    return b_bids, b_most + tl.log(tl.exp(-b_most) + tl.sum(b_each, axis=1))
