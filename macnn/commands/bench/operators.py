"""Every operator against the plain module, its compiled form, and the memory of the device."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from math import ceil
from typing import Any

import torch
from torch import Tensor

from macnn.commands.bench.cases import DTYPES, Case, Shape, cases
from macnn.commands.bench.clock import Clock, Timing, copy_bandwidth
from macnn.errors import UsageError
from macnn.events import Listener, silent, track
from macnn.runs.environment import environment
from macnn_kernels import backend
from macnn_kernels.channel_clusters.op import MAX_CHANNELS
from macnn_kernels.part_attention.op import MAX_PARTS

WARM_UP = 5
MOST_COPIES = 64


@dataclass(frozen=True)
class Row:
    """One operator in one direction.

    Attributes:
        operator: its name.
        direction: "forward", "backward", or "backward, features fixed".
        bytes: that must move, or None where memory is not what limits the operator.
        times: by implementation: "operator" (what `macnn_kernels` runs here), "reference" (its
            plain PyTorch form, on CUDA), "plain" (that of `eager.py`), "compiled" (plain under
            torch.compile).
    """

    operator: str
    direction: str
    bytes: int | None
    times: dict[str, Timing]

    def speedup(self, over: str) -> float:
        """How many times faster than the implementation `over` the operator is."""
        return self.times[over].median / self.times["operator"].median

    def bandwidth(self) -> float | None:
        """Bytes that must move, per second."""
        return None if self.bytes is None else self.bytes / self.times["operator"].median


@dataclass(frozen=True)
class OperatorBench:
    """All rows, and what they were measured on.

    Attributes:
        device: name of the GPU, or "cpu".
        shape: sizes and dtype.
        repeats: timed runs behind every figure.
        copy_bandwidth: bytes per second, read and written, of a large copy on the device.
        rows: one per operator and direction.
    """

    device: str
    shape: Shape
    repeats: int
    copy_bandwidth: float
    rows: list[Row]

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON types: times in seconds, ratios, versions and commit."""
        rows = []
        for row in self.rows:
            bandwidth = row.bandwidth()
            rows.append(
                asdict(row)
                | {"speedup": {name: row.speedup(name) for name in row.times if name != "operator"}}
                | {"of_copy_bandwidth": bandwidth and bandwidth / self.copy_bandwidth}
            )
        return asdict(self) | {"rows": rows, "environment": environment()}


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
) -> OperatorBench:
    """Measure all operators, forward and backward.

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
    rows = []
    with torch.cuda.device(device) if cuda else nullcontext():
        clock = Clock(device)
        for case in track(listed, "operators", len(listed), listen):
            times = {
                name: _measure(case, run, clock, device, repeats)
                for name, run in _implementations(case, cuda, compiled)
            }
            rows.append(Row(case.operator, case.direction, case.bytes, times))
        bandwidth = copy_bandwidth(device)
    name = torch.cuda.get_device_name(device) if cuda else "cpu"
    return OperatorBench(name, shape, repeats, bandwidth, rows)


def _check(shape: Shape) -> None:
    if shape.dtype not in DTYPES:
        raise UsageError(f"`dtype={shape.dtype}`: unknown", hint=f"choose from {', '.join(DTYPES)}")
    for name in ("batch", "channels", "height", "width", "parts"):
        size = getattr(shape, name)
        if size < 1:
            raise UsageError(f"`{name}={size}`", hint="give at least 1")
    if shape.channels > MAX_CHANNELS:
        raise UsageError(f"`channels={shape.channels}`", hint=f"give at most {MAX_CHANNELS}")
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
        inputs = copies[i % len(copies)]
        if case.direction == "forward":
            with torch.no_grad():
                clock.time(partial(run, *inputs))
        else:
            outputs = run(*inputs)
            outputs = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
            wanted_grads = [tensor for tensor in inputs if tensor.requires_grad]
            cotangents = [torch.ones_like(output) for output in outputs]
            clock.time(partial(torch.autograd.grad, outputs, wanted_grads, cotangents))
    return clock.read(skip=WARM_UP)
