"""`channel_peaks` and `peak_gram`: public functions, cost and registration."""

from typing import NamedTuple

import torch
from torch import Tensor

from macnn_kernels import backend, checks
from macnn_kernels.channel_peaks import reference

# coordinates must fit two 7-bit digits for `peak_gram` to be exact, see README.md
MAX_SIDE = 2**14


class Peaks(NamedTuple):
    """The largest response of every channel: where, and how large.

    Attributes:
        x: (B, C) int32, column of the peak in cells.
        y: (B, C) int32, row of the peak in cells.
        value: (B, C) largest response, in the dtype of the features; where `value <= 0`, the
            channel is dead in that image and its peak is the map centre.
    """

    x: Tensor
    y: Tensor
    value: Tensor


def channel_peaks(features: Tensor) -> Peaks:
    """Where every channel of a batch of feature maps is largest; reads the features once.

    Ties go to the first position in row-major order. A dead channel, one without a positive
    response, has its peak at the map centre `(W // 2, H // 2)`. A map with NaN has value NaN and
    its peak at the first NaN. Not differentiable.

    Args:
        features: (B, C, H, W) float16, bfloat16, float32 or float64, NCHW or channels_last, with
            1 <= H, W <= 16384. The Triton kernel serves all but float64.

    Raises:
        ValueError: `features` has another rank, dtype or size.
    """
    checks.rank("features", features, "B, C, H, W")
    checks.floating("features", features)
    if not all(1 <= side <= MAX_SIDE for side in features.shape[2:]):
        raise ValueError(
            f"features: expected 1 <= H, W <= {MAX_SIDE}, got {checks.describe(features)}"
        )
    # an exported program must hold nothing but PyTorch
    peaks = reference.channel_peaks if torch.compiler.is_exporting() else _peaks
    return Peaks(*peaks(features.detach()))


def peak_gram(peaks: Peaks, *, out: Tensor | None = None) -> Tensor:
    """Gram matrix of peak trajectories, `G = sum_b tx tx' + ty ty'`, exact in int64.

    docs/paper.md, What we make precise (15).

    Args:
        peaks: From `channel_peaks`; coordinates lie in [0, 16384).
        out: (C, C) int64, contiguous; the sum is added to it in place. None starts from zero.

    Returns:
        (C, C) int64, `out` if it was given.

    Raises:
        ValueError: a wrong shape, dtype, layout or device.
    """
    x, y = peaks.x, peaks.y
    checks.rank("peaks.x", x, "B, C")
    checks.shape("peaks.y", y, tuple(x.shape), "the shape of peaks.x")
    for name, coordinate in (("peaks.x", x), ("peaks.y", y)):
        if coordinate.dtype != torch.int32:
            raise ValueError(f"{name}: expected int32, got {checks.describe(coordinate)}")
    C = x.shape[1]
    if out is None:
        out = torch.zeros(C, C, dtype=torch.int64, device=x.device)
    checks.shape("out", out, (C, C), "C, C of peaks")
    if out.dtype != torch.int64 or not out.is_contiguous():
        raise ValueError(f"out: expected contiguous int64, got {checks.describe(out)}")
    checks.same_device(**{"peaks.x": x, "peaks.y": y, "out": out})
    _gram(x, y, out)
    return out


def peaks_bytes(B: int, C: int, H: int, W: int, element_size: int) -> int:
    """Bytes `channel_peaks` must move: features once in; x, y and value out."""
    return B * C * (H * W * element_size + 8 + element_size)


def gram_bytes(B: int, C: int) -> int:
    """Bytes `peak_gram` must move: coordinates in, the Gram matrix in and out."""
    return 2 * B * C * 4 + 2 * C * C * 8


@torch.library.custom_op("macnn::channel_peaks", mutates_args=())
def _peaks(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if backend.use_triton(features):
        from macnn_kernels.channel_peaks.kernels import channel_peaks
    else:
        channel_peaks = reference.channel_peaks
    return channel_peaks(features)


@_peaks.register_fake
def _(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return reference.empty_peaks(features)


@torch.library.custom_op("macnn::peak_gram", mutates_args=("gram",))
def _gram(x: Tensor, y: Tensor, gram: Tensor) -> None:
    if backend.use_triton(x):
        from macnn_kernels.channel_peaks.kernels import peak_gram
    else:
        peak_gram = reference.peak_gram
    peak_gram(x, y, gram)
