"""Starts the Triton kernel of channel clusters; the same signature as in reference.py."""

import torch
from torch import Tensor
from triton import next_power_of_2

from macnn_kernels.channel_clusters import kernels, reference
from macnn_kernels.launch import Config, launch


def cluster(gram: Tensor, starts: Tensor | None, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Return labels (R, C) and inertia (R,) of every restart."""
    C, (R, N) = len(gram), uniforms.shape
    labels = gram.new_empty((R, C), dtype=torch.int32)
    inertia = gram.new_empty(R, dtype=torch.float64)
    launch(
        kernels.cluster,
        lambda _blocks: (R,),
        *(gram.contiguous(), None if starts is None else starts.contiguous(), uniforms),
        *(labels, inertia, C, N),
        configs=_configs(C),
        MAX_MOVES=reference.MAX_MOVES,
    )
    return labels.long(), inertia


def rehearse() -> None:
    """Launch once per default configuration; see `macnn_kernels.aot`."""
    uniforms = torch.empty(64, 4, dtype=torch.float64, device="meta")
    starts = torch.empty(64, 4, dtype=torch.int64, device="meta")
    for C in (96, 256, 512, 1024, 2048):
        cluster(torch.empty(C, C, dtype=torch.int64, device="meta"), None, uniforms)
    cluster(torch.empty(512, 512, dtype=torch.int64, device="meta"), starts, uniforms)


def _configs(C: int) -> list[Config]:
    """All C channels in one block, as many rows of the Gram matrix at a time as registers hold."""
    columns = max(16, next_power_of_2(C))
    rows = min(32, 16384 // columns)
    return [Config({"BLOCK_C": columns, "BLOCK_J": rows}, num_warps=16, maxnreg=128)]
