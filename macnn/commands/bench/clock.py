"""Measuring how long a step takes, and how fast the device copies."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import quantiles
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True)
class Timing:
    """Seconds a step took: median and quartiles over the repetitions."""

    median: float
    low: float
    high: float


class Clock:
    """Collects the durations of steps on one device.

    On CUDA a step is timed between two events. A long read is queued before it, so that all its
    kernels are queued when it starts and the time is the device's. Only a step that the host takes
    longer to launch than that read is timed by its launches.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._steps: list[Callable[[], float]] = []
        if self._cuda:
            self._long = torch.zeros(2**28, device=device)  # 1 GiB, read in about 0.3 ms

    def time(self, step: Callable[[], T]) -> T:
        """Run a step, and remember how long it took."""
        if not self._cuda:
            start = time.perf_counter()
            result = step()
            seconds = time.perf_counter() - start
            self._steps.append(lambda: seconds)
            return result
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        for _ in range(4):
            self._long.sum()
        begin.record()
        result = step()
        end.record()
        self._steps.append(lambda: begin.elapsed_time(end) / 1000)
        return result

    def time_call(
        self, run: Callable[..., Any], inputs: tuple[Tensor, ...], *, backward: bool
    ) -> None:
        """Time a function, or differentiating it by those inputs that ask for it."""
        if not backward:
            with torch.no_grad():
                self.time(partial(run, *inputs))
            return
        outputs = run(*inputs)
        outputs = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
        wanted = [tensor for tensor in inputs if tensor.requires_grad]
        ones = [torch.ones_like(output) for output in outputs]
        self.time(partial(torch.autograd.grad, outputs, wanted, ones))

    def read(self, skip: int) -> Timing:
        """Median and quartiles of all steps but the first `skip`, and start anew."""
        if self._cuda:
            torch.cuda.synchronize()
        low, median, high = quantiles((step() for step in self._steps[skip:]), n=4)
        self._steps.clear()
        return Timing(median, low, high)


def device_name(device: torch.device) -> str:
    """The name of a GPU, or "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def copy_bandwidth(device: torch.device) -> float:
    """Bytes per second, read and written, of copying a large tensor."""
    count = 2**28 if device.type == "cuda" else 2**24
    source, target = torch.zeros(count, device=device), torch.zeros(count, device=device)
    clock = Clock(device)
    for _ in range(12):
        clock.time(lambda: target.copy_(source))
    return 2 * source.nbytes / clock.read(skip=2).median
