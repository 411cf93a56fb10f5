"""Every operator against the plain module, its compiled form, and the memory of the device."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import asdict
from math import ceil
from typing import Any

import torch
from torch import Tensor

from macnn.commands.bench.cases import DTYPES, Case, Shape, cases
from macnn.commands.bench.clock import Clock, Timing, copy_bandwidth, device_name
from macnn.errors import DeviceMemoryError, UsageError
from macnn.events import Listener, silent, track
from macnn.runs.environment import environment
from macnn.runs.session import NO_MEMORY
from macnn_kernels import backend
from macnn_kernels.part_attention.op import MAX_PARTS

WARM_UP = 5
MOST_COPIES = 64


def default_shape(device: torch.device) -> Shape:
    """`Shape()` on CUDA, eight float32 images of it on the CPU."""
    return Shape() if device.type == "cuda" else Shape(batch=8, dtype="float32")


def bench_operators(
    shape: Shape | None = None,
    *,
    device: str | torch.device = "cpu",
    repeats: int = 50,
    compiled: bool | None = None,
    listen: Listener = silent,
) -> dict[str, Any]:
    """Measure all operators, forward and backward; returns figures as JSON types.

    A row per operator and direction has "times", seconds by implementation ("operator", what
    `macnn_kernels` runs here; "reference", its plain PyTorch form, on CUDA; "plain", that of
    `eager.py`; "compiled", plain under torch.compile); "speedup", how many times faster than these
    the operator is; and "of_copy_bandwidth", the bytes that must move per second as a share of
    "copy_bandwidth", that of a large copy on the device, None where memory is not what limits it.

    Inputs rotate through copies that together are twice the size of the L2 cache of a GPU.

    Args:
        shape: sizes and dtype; by default those of `default_shape`.
        device: where to run.
        repeats: timed runs per figure, after a few untimed ones.
        compiled: whether to measure torch.compile too; default on CUDA only.
        listen: called with progress events.

    Raises:
        UsageError: no such device, an unknown dtype, a size out of range, or fewer than two
            repeats.
        DeviceMemoryError: the device has too little memory for such sizes.
    """
    device = torch.device(device)
    cuda = device.type == "cuda"
    if cuda and not torch.cuda.is_available():
        raise UsageError("no CUDA device here", hint="use `device=cpu`")
    shape = shape or default_shape(device)
    _check(shape)
    if repeats < 2:
        raise UsageError(f"`repeats={repeats}`", hint="give at least 2")
    if compiled is None:
        compiled = cuda
    listed = cases(shape, device)
    try:
        with torch.cuda.device(device) if cuda else nullcontext():
            clock = Clock(device)
            times = [
                {
                    name: _measure(case, run, clock, device, repeats)
                    for name, run in _implementations(case, cuda, compiled)
                }
                for case in track(listed, "operators", len(listed), listen)
            ]
            bandwidth = copy_bandwidth(device)
    except RuntimeError as error:
        if not any(words in str(error) for words in NO_MEMORY):
            raise
        raise DeviceMemoryError(
            f"out of memory with `batch={shape.batch}` and `channels={shape.channels}`",
            hint="give fewer of either",
        ) from error
    return {
        "device": device_name(device),
        "shape": asdict(shape),
        "repeats": repeats,
        "copy_bandwidth": bandwidth,
        "rows": [_row(*each, bandwidth) for each in zip(listed, times, strict=True)],
        "environment": environment(),
    }


def _row(case: Case, times: dict[str, Timing], bandwidth: float) -> dict[str, Any]:
    ours = times["operator"].median
    return {
        "operator": case.operator,
        "direction": case.direction,
        "bytes": case.bytes,
        "times": {name: asdict(time) for name, time in times.items()},
        "speedup": {n: time.median / ours for n, time in times.items() if n != "operator"},
        "of_copy_bandwidth": case.bytes and case.bytes / ours / bandwidth,
    }


def _check(shape: Shape) -> None:
    if shape.dtype not in DTYPES:
        raise UsageError(f"`dtype={shape.dtype}`: unknown", hint=f"choose from {', '.join(DTYPES)}")
    for name in ("batch", "channels", "height", "width", "parts"):
        size = getattr(shape, name)
        if size < 1:
            raise UsageError(f"`{name}={size}`", hint="give at least 1")
    if shape.parts > min(MAX_PARTS, shape.channels):
        raise UsageError(
            f"`parts={shape.parts}`", hint=f"give at most {MAX_PARTS}, and one channel for each"
        )


def _implementations(
    case: Case, cuda: bool, compiled: bool
) -> Iterable[tuple[str, Callable[..., Any]]]:
    yield "operator", case.ours
    if cuda:
        yield "reference", _reference(case.ours)
    yield "plain", case.plain
    if compiled and case.compiles:
        torch.compiler.reset()
        yield "compiled", torch.compile(case.plain, dynamic=False)


def _reference(operator: Callable[..., Any]) -> Callable[..., Any]:
    def run(*inputs: Tensor) -> Any:
        with backend.selected("reference"):
            return operator(*inputs)

    return run


def _measure(
    case: Case, run: Callable[..., Any], clock: Clock, device: torch.device, repeats: int
) -> Timing:
    copies = [case.inputs()]
    if device.type == "cuda":
        size = sum(tensor.nbytes for tensor in copies[0])
        cache = torch.cuda.get_device_properties(device).L2_cache_size
        wanted = min(MOST_COPIES, 1 + ceil(2 * cache / size))
        copies += [case.inputs() for _ in range(wanted - 1)]
    for i in range(WARM_UP + repeats):
        clock.time_call(run, copies[i % len(copies)], backward=case.direction != "forward")
    return clock.read(skip=WARM_UP)
