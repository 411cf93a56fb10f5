"""Starts the Triton kernels of channel peaks; the same signatures as in reference.py."""

import torch
from torch import Tensor
from triton import cdiv, next_power_of_2

from macnn_kernels.channel_peaks import kernels
from macnn_kernels.channel_peaks.reference import empty_peaks
from macnn_kernels.launch import Config, launch

IMAGES = 2**15  # per launch of the Gram kernel, so that its int32 sums cannot overflow; README.md


def channel_peaks(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return column, row and value (B, C) of the largest response of every channel."""
    B, C, H, W = features.shape
    maps = features.flatten(2)  # a view of NCHW and of channels_last
    x, y, value = empty_peaks(features)
    launch(
        kernels.peaks,
        lambda blocks: (B * cdiv(C, blocks["BLOCK_C"]),),
        *(maps, x, y, value),
        *(C, H * W, W),
        *maps.stride(),
        configs=_configs(H * W, channels_last=maps.stride(1) == 1),
    )
    return x, y, value


def peak_gram(x: Tensor, y: Tensor, gram: Tensor) -> None:
    """Add `sum_b tx tx' + ty ty'` to `gram` (C, C)."""
    C = x.shape[1]
    for start in range(0, len(x), IMAGES):
        part = slice(start, start + IMAGES)
        launch(
            kernels.gram,
            lambda blocks: (cdiv(C, blocks["BLOCK_C"]),) * 2,
            *(x[part].contiguous(), y[part].contiguous(), gram, len(x[part]), C),
            configs=[Config({"BLOCK_B": 32, "BLOCK_C": 32})],
        )


def rehearse() -> None:
    """Launch once per default configuration and dtype; see `macnn_kernels.aot`."""
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        channel_peaks(torch.empty(2, 512, 1, 1, dtype=dtype, device="meta"))
        for side in (7, 28):
            features = torch.empty(2, 512, side, side, dtype=dtype, device="meta")
            channel_peaks(features)
            channel_peaks(features.to(memory_format=torch.channels_last))
    coordinate = torch.empty(2, 512, dtype=torch.int32, device="meta")
    peak_gram(coordinate, coordinate, torch.empty(512, 512, dtype=torch.int64, device="meta"))


def _configs(S: int, *, channels_last: bool) -> list[Config]:
    """Tiles of 2048 elements, long along the dimension that is contiguous in memory."""

    def tile(c: int, s: int) -> Config:
        return Config({"BLOCK_C": c, "BLOCK_S": min(s, next_power_of_2(S))})

    if channels_last:
        return [tile(32, 64), tile(64, 32), tile(64, 64), tile(32, 128)]
    if S <= 64:
        return [tile(32, 64), tile(64, 64), tile(16, 64)]
    return [tile(16, 128), tile(8, 256), tile(4, 1024), tile(16, 256)]
