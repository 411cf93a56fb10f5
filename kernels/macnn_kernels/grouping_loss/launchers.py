"""Starts the Triton kernels of the grouping loss; the same signatures as in reference.py."""

import torch
from torch import Tensor
from triton import cdiv, next_power_of_2

from macnn_kernels.grouping_loss import kernels
from macnn_kernels.grouping_loss.reference import empty_outputs
from macnn_kernels.launch import Config, launch


def forward(attention: Tensor, margin: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return Dis (B, N), Div (B, N) and the peaks (B, N) as flat positions."""
    B, N, H, W = attention.shape
    distance, diversity, peak = empty_outputs(attention)
    launch(
        kernels.forward,
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
        kernels.backward,
        lambda blocks: (B * cdiv(H * W, blocks["BLOCK_S"]),),
        *(grad_distance.contiguous(), grad_diversity.contiguous(), attention, peak, grad),
        *(H * W, W, *attention.stride(), margin),
        N=N,
        configs=_configs(N, H * W, elements=1024),
    )
    return grad


def rehearse() -> None:
    """Launch once per default configuration and dtype; see `macnn_kernels.aot`."""
    for N, side, dtype in (
        *((4, 28, dtype) for dtype in (torch.float32, torch.bfloat16, torch.float16)),
        (1, 13, torch.float32),
        (16, 56, torch.float32),
    ):
        attention = torch.empty(2, N, side, side, dtype=dtype, device="meta")
        distance, diversity, peak = forward(attention, 0.02)
        backward(distance, diversity, attention, peak, 0.02)


def _configs(N: int, S: int, *, elements: int) -> list[Config]:
    """Tiles of about `elements` that hold all parts at a position."""
    block_n = next_power_of_2(N)
    block_s = min(next_power_of_2(S), max(16, elements // block_n))
    return [
        Config({"BLOCK_N": block_n, "BLOCK_S": block_s}, num_warps=warps) for warps in (4, 8, 2)
    ]
