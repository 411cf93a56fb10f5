"""Starts the Triton kernels of part attention; the same signatures as in reference.py."""

from dataclasses import dataclass

import torch
from torch import Tensor
from triton import cdiv, next_power_of_2

from macnn_kernels.launch import Config, launch
from macnn_kernels.part_attention import kernels
from macnn_kernels.part_attention.reference import empty_grads, empty_outputs

RESIDENT_CHANNELS = 512  # up to here a tile of 16-bit features spans all channels; README.md
PROGRAMS = 256  # enough to fill a large GPU


def forward(
    features: Tensor, weights: Tensor, scale: float, activation: str, power: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return attention (B, N, H, W), parts (B, N, C) and scores z (B, N, H, W)."""
    B, N, C = weights.shape
    flat = features.flatten(2)  # a view of NCHW and of channels_last
    S = flat.shape[2]
    walk = _walk(flat)
    attention, parts, scores = empty_outputs(features, weights)
    largest, total = (scores.new_empty(B, walk.runs, N) for _ in range(2))
    pooled = scores.new_empty(B, walk.runs, N, C)
    launch(
        kernels.forward if walk.resident else kernels.forward_streamed,
        lambda blocks: (B * walk.runs,),
        *(flat, weights.contiguous(), scores, largest, total, pooled),
        *(walk.runs, walk.run, flat.stride(0), scale, power),
        **_constants(flat, N, activation),
        # Tensor cores take 16 columns; IEEE float32 goes without them and saves the padding.
        BLOCK_N=16 if flat.itemsize == 2 else next_power_of_2(N),
        configs=walk.configs,
    )
    launch(
        kernels.normalise,
        lambda blocks: (B * N * cdiv(max(C, S), blocks["BLOCK"]),),
        *(scores, largest, total, pooled, attention, parts),
        *(C, S, walk.runs, power),
        N=N,
        SIGMOID=activation == "sigmoid",
        configs=[Config({"BLOCK": 256})],
    )
    return attention, parts, scores


def backward(
    grad_attention: Tensor | None,
    grad_parts: Tensor | None,
    features: Tensor,
    weights: Tensor,
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
    walk = _walk(flat)
    grads = empty_grads(features, weights, needs_features, needs_weights)
    grad_flat = grads[0].flatten(2) if needs_features else None
    grad_strides = (0, 0, 0) if grad_flat is None else grad_flat.stride()
    grad_runs = scores.new_empty(B, walk.runs, N, C) if needs_weights else None
    grad_attention = None if grad_attention is None else grad_attention.contiguous()
    grad_parts = None if grad_parts is None else grad_parts.contiguous()
    q = scores.new_empty(B, N)
    launch(
        kernels.pivot,
        lambda blocks: (B * N,),
        *(attention, grad_attention, parts, grad_parts, flat, q),
        *(C, flat.shape[2]),
        configs=[Config({"BLOCK": 1024})],
    )
    launch(
        kernels.backward if walk.resident else kernels.backward_streamed,
        lambda blocks: (B * walk.runs,),
        *(grad_attention, grad_parts, flat, weights.contiguous()),
        *(attention, scores, q, grad_flat, grad_runs),
        *(walk.runs, walk.run, flat.stride(0), grad_strides[0], scale, power),
        **_constants(flat, N, activation),
        GRAD_STRIDE_C=grad_strides[1],
        GRAD_STRIDE_S=grad_strides[2],
        BLOCK_N=16,  # parts are summed over here, and tensor cores sum 16 at a time
        configs=walk.configs,
    )
    if needs_weights:
        launch(
            kernels.sum_runs,
            lambda blocks: (B * cdiv(N * C, blocks["BLOCK"]),),
            *(grad_runs, grads[-1], N * C, walk.runs),
            configs=[Config({"BLOCK": 256})],
        )
    return grads


def rehearse() -> None:
    """Launch once per default configuration and dtype; see `macnn_kernels.aot`."""
    fp32, bf16, fp16 = torch.float32, torch.bfloat16, torch.float16
    for C, side, dtype, channels_last in (
        *((512, 28, dtype, False) for dtype in (fp32, bf16, fp16)),
        *((512, 28, dtype, True) for dtype in (fp32, bf16)),
        *((2048, 14, dtype, False) for dtype in (bf16, fp16)),
        (2048, 14, bf16, True),
        (512, 13, bf16, False),
        (96, 56, bf16, False),
    ):
        layout = torch.channels_last if channels_last else torch.contiguous_format
        features = torch.empty(2, C, side, side, dtype=dtype, device="meta", memory_format=layout)
        weights = torch.empty(2, 4, C, device="meta")
        attention, parts, scores = forward(features, weights, 1.5, "sigmoid", 1.5)
        saved = features, weights, attention, parts, scores, 1.5, "sigmoid", 1.5
        backward(attention, parts, *saved, True, True)
        if (C, side, dtype) == (512, 28, bf16):  # as in each half of the alternation
            backward(attention, None, *saved, False, True)
            backward(None, parts, *saved, True, False)


@dataclass(frozen=True)
class _Walk:
    """How programs walk an image: `runs` runs of `run` positions, each in tiles."""

    resident: bool
    runs: int
    run: int
    configs: list[Config]


def _walk(flat: Tensor) -> _Walk:
    B, C, S = flat.shape
    block_s = min(64, max(16, next_power_of_2(S)))
    if flat.itemsize > 2 or C > RESIDENT_CHANNELS:
        block_c, warps = (64, 4) if flat.itemsize == 2 else (32, 8)
        configs = [
            Config({"BLOCK_C": width, "BLOCK_S": block_s}, num_warps=warps, num_stages=stages)
            for width in (block_c, block_c // 2)
            for stages in (3, 2)
        ]
        return _Walk(False, cdiv(S, block_s), block_s, configs)
    block_c = max(16, next_power_of_2(C))
    tile = _tile(flat.device)
    block_s = min(block_s, tile // block_c)
    runs = min(cdiv(S, block_s), max(1, PROGRAMS // max(1, B)))
    run = cdiv(cdiv(S, runs), block_s) * block_s
    configs = [
        Config({"BLOCK_C": block_c, "BLOCK_S": block_s}, num_warps, num_stages)
        for num_warps in ((8, 4) if block_c * block_s == tile else (4, 8))
        for num_stages in (2, 3)
    ]
    return _Walk(True, cdiv(S, run), run, configs)


def _tile(device: torch.device) -> int:
    """Elements of a resident tile: 16384, or half where shared memory is short of 128 KiB."""
    if device.type != "cuda":
        return 16384
    properties = torch.cuda.get_device_properties(device)
    # An NVIDIA figure; AMD has 64 KiB.
    shared = getattr(properties, "shared_memory_per_block_optin", 64 * 1024)
    return 16384 if shared >= 128 * 1024 else 8192


def _constants(flat: Tensor, parts: int, activation: str) -> dict[str, int | bool]:
    # Sizes and strides as constants become offsets inside instructions; otherwise a tile of rows
    # that are not multiples of 16 bytes would take a register per address, and spill.
    return {
        "C": flat.shape[1],
        "S": flat.shape[2],
        "STRIDE_C": flat.stride(1),
        "STRIDE_S": flat.stride(2),
        "N": parts,
        "SIGMOID": activation == "sigmoid",
        "TF32": flat.dtype == torch.float32 and torch.backends.cuda.matmul.fp32_precision == "tf32",
    }
