"""Every Triton kernel is started here.

A launcher names a kernel, its grid, its arguments and its candidate configurations, the default for
these sizes first:

    launch(forward_kernel, lambda blocks: (triton.cdiv(n, blocks["BLOCK_C"]),),
           x, y, n, x.stride(0), configs=_configs(n), ACTIVATION=0)

Tensors and numbers are passed in the order of the kernel's parameters, constexprs by name. CUDA
limits every grid axis but the first to 65535, so large counts belong on the first. An empty grid
starts nothing.

By default the first configuration runs. With `MACNN_AUTOTUNE=1` all candidates are timed once per
combination of dtypes, numbers and constexprs, and the fastest runs from then on. A kernel that adds
to its output must have one candidate only, since timing runs it many times.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from macnn_kernels import backend


@dataclass(frozen=True)
class Config:
    """Block sizes, by constexpr name, and scheduling of one kernel.

    `maxnreg` is the most registers a thread may use on NVIDIA GPUs. Setting it to the limit of the
    hardware keeps the assembler from spilling registers to fit more programs.
    """

    blocks: Mapping[str, int]
    num_warps: int = 4
    num_stages: int = 2
    maxnreg: int | None = None


@dataclass(frozen=True)
class Launch:
    """One kernel start: what runs, on which arguments, in which configuration."""

    kernel: Any
    args: tuple[Any, ...]
    constants: Mapping[str, Any]
    config: Config

    @property
    def options(self) -> dict[str, int]:
        """Compiler options."""
        options = {
            "num_warps": self.config.num_warps,
            "num_stages": self.config.num_stages,
            "enable_fp_fusion": True,  # the default differs between versions of Triton
        }
        if self.config.maxnreg is not None and torch.version.hip is None:
            options["maxnreg"] = self.config.maxnreg
        return options

    def start(self, grid: tuple[int, ...]) -> None:
        """Start the kernel on the current device."""
        self.kernel[grid](
            *self.args,
            **self.constants,
            **self.config.blocks,
            **self.options,
        )


Grid = Callable[[Mapping[str, int]], tuple[int, ...]]

_captured: list[Launch] | None = None
_fastest: dict[tuple[Any, ...], Config] = {}


def launch(
    kernel: Any,
    grid: Grid,
    *args: Tensor | float | None,
    configs: Sequence[Config],
    **constants: int | bool,
) -> None:
    """Start `kernel` on the device of its first tensor; see the module's docstring."""
    candidates = [Launch(kernel, args, constants, config) for config in configs]
    if _captured is not None:
        _captured.append(candidates[0])
        return
    if 0 in grid(configs[0].blocks):
        return
    device = next(arg.device for arg in args if isinstance(arg, Tensor))
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        chosen = candidates[0]
        if len(candidates) > 1 and _autotuned():
            chosen = _pick(candidates, grid)
        chosen.start(grid(chosen.config.blocks))


@contextmanager
def capture_launches() -> Iterator[list[Launch]]:
    """Context manager: collect launches in their default configuration instead of starting them."""
    global _captured
    before, _captured = _captured, []
    try:
        yield _captured
    finally:
        _captured = before


def _autotuned() -> bool:
    """Whether candidates are timed; the time of interpreted kernels says nothing."""
    return os.environ.get("MACNN_AUTOTUNE", "0") == "1" and not backend.interpreted()


def _pick(candidates: Sequence[Launch], grid: Grid) -> Launch:
    """The fastest candidate, timed the first time these dtypes and numbers are seen."""
    from triton.testing import do_bench

    first = candidates[0]
    key = (
        first.kernel,
        tuple((arg.device, arg.dtype) if isinstance(arg, Tensor) else arg for arg in first.args),
        tuple(first.constants.items()),
    )
    if key not in _fastest:
        _fastest[key] = min(
            candidates,
            key=lambda candidate: do_bench(lambda: candidate.start(grid(candidate.config.blocks))),
        ).config
    return next(candidate for candidate in candidates if candidate.config == _fastest[key])
