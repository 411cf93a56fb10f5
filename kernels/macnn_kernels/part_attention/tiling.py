"""How the Triton kernels of part attention divide the features among programs.

The features of an image are a matrix of C channels by S positions. The positions are split among
programs, and a program reads its split in tiles of BLOCK_S positions. Two kernels per direction:

- Resident: a tile holds all channels, is read once and used twice on chip. A program sums over the
  tiles of its split in registers.
- Streamed: a split is one tile, read twice in blocks of channels, the second time from the cache.

Another kernel then combines the splits of an image, in order.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from triton import cdiv, next_power_of_2

from macnn_kernels.kernels import allows_tf32
from macnn_kernels.launch import Config

RESIDENT_CHANNELS = 512  # the most channels of 16-bit features that a tile holds; README.md
PROGRAMS = 256  # enough to fill a large GPU


@dataclass(frozen=True)
class Tiling:
    """Which kernel runs, on how many splits per image of how many positions, in which tiles."""

    resident: bool
    splits: int
    split_size: int
    configs: list[Config]


def tiling(flat: Tensor) -> Tiling:
    """The tiling of features (B, C, S)."""
    B, C, S = flat.shape
    block_s = min(64, max(16, next_power_of_2(S)))
    if flat.itemsize > 2 or C > RESIDENT_CHANNELS:
        block_c, warps = (64, 4) if flat.itemsize == 2 else (32, 8)
        configs = [
            Config({"BLOCK_C": width, "BLOCK_S": block_s}, num_warps=warps, num_stages=stages)
            for width in (block_c, block_c // 2)
            for stages in (3, 2)
        ]
        return Tiling(False, cdiv(S, block_s), block_s, configs)
    block_c = max(16, next_power_of_2(C))
    tile = _resident_tile(flat.device)
    block_s = min(block_s, tile // block_c)
    splits = min(cdiv(S, block_s), max(1, PROGRAMS // max(1, B)))
    split_size = cdiv(cdiv(S, splits), block_s) * block_s
    configs = [
        Config({"BLOCK_C": block_c, "BLOCK_S": block_s}, num_warps, num_stages)
        for num_warps in ((8, 4) if block_c * block_s == tile else (4, 8))
        for num_stages in (2, 3)
    ]
    return Tiling(True, cdiv(S, split_size), split_size, configs)


def constants(flat: Tensor, parts: int, activation: str) -> dict[str, int | bool]:
    """What is compiled into the kernels for features (B, C, S).

    Constant sizes and strides become offsets inside instructions. As arguments, they would take a
    register per address where rows are not multiples of 16 bytes, and spill.
    """
    return {
        "C": flat.shape[1],
        "S": flat.shape[2],
        "STRIDE_C": flat.stride(1),
        "STRIDE_S": flat.stride(2),
        "N": parts,
        "SIGMOID": activation == "sigmoid",
        "TF32": allows_tf32(flat),
    }


def _resident_tile(device: torch.device) -> int:
    """Elements of a resident tile: 16384, or half with less than 128 KiB of shared memory."""
    if device.type != "cuda":
        return 16384
    properties = torch.cuda.get_device_properties(device)
    # AMD devices do not report this; they have 64 KiB
    shared = getattr(properties, "shared_memory_per_block_optin", 64 * 1024)
    return 16384 if shared >= 128 * 1024 else 8192
