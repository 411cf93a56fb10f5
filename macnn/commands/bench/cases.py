"""What is measured: each operator in each direction, with its inputs and its plain counterpart."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

import macnn_kernels as kernels
from macnn.commands.bench import eager
from macnn_kernels import Peaks
from macnn_kernels.channel_grouping.op import grouping_bytes
from macnn_kernels.channel_peaks.op import gram_bytes, peaks_bytes
from macnn_kernels.grouping_loss.op import loss_bytes
from macnn_kernels.part_attention.op import attention_bytes

RESTARTS = 16  # of k-means
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Shape:
    """What the operators run on: VGG-19 at 448 px by default."""

    batch: int = 64
    channels: int = 512
    height: int = 28
    width: int = 28
    parts: int = 4
    dtype: str = "bfloat16"


@dataclass(frozen=True)
class Case:
    """One operator in one direction.

    Attributes:
        operator: its name.
        direction: "forward", "backward", or "backward, features fixed".
        bytes: that must move, or None where memory is not what limits the operator.
        inputs: makes fresh inputs; those that require gradients are differentiated.
        ours: the operator.
        plain: its counterpart in `macnn.commands.bench.eager`.
        compiles: whether torch.compile takes the plain counterpart whole.
    """

    operator: str
    direction: str
    bytes: int | None
    inputs: Callable[[], tuple[Tensor, ...]]
    ours: Callable[..., Any]
    plain: Callable[..., Any]
    compiles: bool = True


def cases(shape: Shape, device: torch.device) -> list[Case]:
    """All operators in all directions, with inputs of `shape` on `device`."""
    B, C, H, W, N = shape.batch, shape.channels, shape.height, shape.width, shape.parts
    dtype = DTYPES[shape.dtype]
    size = dtype.itemsize

    def features(grad: bool = False) -> Tensor:
        return torch.randn(B, C, H, W, device=device).relu().to(dtype).requires_grad_(grad)

    def weights(grad: bool = False) -> Tensor:
        return torch.rand(B, N, C, device=device).to(dtype).requires_grad_(grad)

    def maps(grad: bool = False) -> tuple[Tensor]:
        m = torch.rand(B, N, H * W, device=device).softmax(2).view(B, N, H, W)
        return (m.requires_grad_(grad),)

    def layers(grad: bool = False) -> tuple[Tensor, ...]:
        shapes = (B, C), (N, C, C), (N, C), (N, C, C), (N, C)
        return tuple(
            (torch.randn(s, device=device) * C**-0.5).to(dtype).requires_grad_(grad) for s in shapes
        )

    def peaks() -> tuple[Tensor, Tensor]:
        x, y = (torch.randint(side, (B, C), device=device, dtype=torch.int32) for side in (W, H))
        return x, y

    def trajectories() -> tuple[Tensor]:
        return (torch.cat(peaks()).T.float(),)

    def cluster(trajectories: Tensor) -> Tensor:
        gram = (trajectories.double() @ trajectories.double().T).long()
        return kernels.cluster_channels(gram, N, restarts=RESTARTS).labels

    attention_size = partial(attention_bytes, B, C, H, W, N, size)
    grouping_size = partial(grouping_bytes, B, C, C, N, size)
    grouping = partial(
        Case, "channel_grouping", ours=kernels.channel_grouping, plain=eager.channel_grouping
    )
    attention = partial(
        Case,
        "part_attention",
        ours=partial(kernels.part_attention, scale=C**-0.5),
        plain=partial(eager.part_attention, scale=C**-0.5),
    )
    loss = partial(Case, "grouping_loss", ours=kernels.grouping_loss, plain=eager.grouping_loss)
    return [
        Case(
            "channel_peaks",
            "forward",
            peaks_bytes(B, C, H, W, size),
            lambda: (features(),),
            kernels.channel_peaks,
            eager.channel_peaks,
        ),
        Case(
            "peak_gram",
            "forward",
            gram_bytes(B, C),
            peaks,
            lambda x, y: kernels.peak_gram(Peaks(x, y, x)),
            eager.peak_gram,
        ),
        Case(
            "cluster_channels",
            "forward",
            None,
            trajectories,
            cluster,
            partial(eager.cluster_channels, groups=N, restarts=RESTARTS),
            compiles=False,
        ),
        grouping("forward", grouping_size(), layers),
        grouping("backward", grouping_size(backward=True), partial(layers, True)),
        attention("forward", attention_size(), lambda: (features(), weights())),
        attention(
            "backward", attention_size(backward=True), lambda: (features(True), weights(True))
        ),
        attention(
            "backward, features fixed",
            attention_size(backward=True, needs_features=False),
            lambda: (features(), weights(True)),
        ),
        loss("forward", loss_bytes(B, N, H, W, 4), maps),
        loss("backward", loss_bytes(B, N, H, W, 4, backward=True), partial(maps, True)),
    ]
