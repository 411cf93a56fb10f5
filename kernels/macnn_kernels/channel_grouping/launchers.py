"""Starts the Triton kernels of channel grouping; the same signatures as in reference.py."""

import torch
from torch import Tensor
from triton import cdiv

from macnn_kernels.channel_grouping import kernels
from macnn_kernels.channel_grouping.reference import empty_grads, empty_outputs
from macnn_kernels.launch import Config, launch


def forward(
    pooled: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the channel weights (B, N, C) and the hidden units (B, N, K)."""
    weights, hidden = empty_outputs(pooled, b1, b2)
    _layer(pooled.contiguous(), w1, b1, hidden, tanh=True)
    _layer(hidden, w2, b2, weights, tanh=False)
    return weights, hidden


def backward(
    grad_weights: Tensor,
    pooled: Tensor,
    w1: Tensor,
    w2: Tensor,
    hidden: Tensor,
    weights: Tensor,
    needs_pooled: bool,
    needs_parameters: bool,
) -> list[Tensor]:
    """Return the gradients asked for: of pooled, then of w1, b1, w2, b2."""
    B, C = pooled.shape
    N, K = w1.shape[:2]
    grad_weights = grad_weights.contiguous()
    grads = empty_grads(pooled, w1, w2, needs_pooled, needs_parameters)
    v = torch.empty_like(hidden)
    launch(
        kernels.hidden_grad,
        lambda blocks: (N * cdiv(B, blocks["BLOCK_B"]) * cdiv(K, blocks["BLOCK_O"]),),
        *(grad_weights, weights, hidden, w2.contiguous(), v),
        *(B, N, C, K),
        TF32=_tf32(hidden),
        configs=_configs(hidden),
    )
    if needs_pooled:
        launch(
            kernels.pooled_grad,
            lambda blocks: (cdiv(B, blocks["BLOCK_B"]) * cdiv(C, blocks["BLOCK_O"]),),
            *(v, w1.contiguous(), grads[0]),
            *(B, N * K, C),
            TF32=_tf32(hidden),
            configs=_configs(hidden),
        )
    if needs_parameters:
        grad_w1, grad_b1, grad_w2, grad_b2 = grads[-4:]
        _parameter_grad(v, None, pooled.contiguous(), grad_w1, grad_b1)
        _parameter_grad(grad_weights, weights, hidden, grad_w2, grad_b2)
    return grads


def rehearse() -> None:
    """Launch once per default configuration and dtype; see `macnn_kernels.aot`."""
    shapes = (64, 512), (4, 512, 512), (4, 512), (4, 512, 512), (4, 512)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        pooled, w1, b1, w2, b2 = (torch.empty(s, dtype=dtype, device="meta") for s in shapes)
        weights, hidden = forward(pooled, w1, b1, w2, b2)
        backward(weights, pooled, w1, w2, hidden, weights, True, True)


def _layer(x: Tensor, w: Tensor, bias: Tensor, y: Tensor, *, tanh: bool) -> None:
    B, N, outputs = y.shape
    launch(
        kernels.layer,
        lambda blocks: (N * cdiv(B, blocks["BLOCK_B"]) * cdiv(outputs, blocks["BLOCK_O"]),),
        *(x, w.contiguous(), bias.contiguous(), y),
        *(B, N, w.shape[2], outputs, x.stride(0), _part_stride(x)),
        TANH=tanh,
        TF32=_tf32(x),
        configs=_configs(x),
    )


def _parameter_grad(
    delta: Tensor, y: Tensor | None, x: Tensor, grad_w: Tensor, grad_bias: Tensor
) -> None:
    N, outputs, inputs = grad_w.shape
    launch(
        kernels.parameter_grad,
        lambda blocks: (N * cdiv(outputs, blocks["BLOCK_O"]) * cdiv(inputs, blocks["BLOCK_I"]),),
        *(delta, y, x, grad_w, grad_bias),
        *(len(x), N, inputs, outputs, x.stride(0), _part_stride(x)),
        TF32=_tf32(x),
        configs=_configs(x),
    )


def _part_stride(x: Tensor) -> int:
    return x.stride(1) if x.dim() == 3 else 0  # the first layers share their input


def _configs(x: Tensor) -> list[Config]:
    depth = 64 if x.itemsize == 2 else 32
    return [
        Config({"BLOCK_B": b, "BLOCK_O": o, "BLOCK_I": depth}, num_warps=4, num_stages=3)
        for b, o in ((32, 32), (64, 32), (32, 64), (16, 64))
    ]


def _tf32(x: Tensor) -> bool:
    return x.dtype == torch.float32 and torch.backends.cuda.matmul.fp32_precision == "tf32"
