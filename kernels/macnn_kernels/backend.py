"""Which implementation of an operator runs here, and why.

CUDA tensors take the Triton kernels, everything else the plain PyTorch reference. The environment
variable `MACNN_KERNELS` (auto, triton, reference), or `select`, decides by hand. Under
`TRITON_INTERPRET=1` the Triton kernels also run on CPU tensors, when asked for by name.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Literal, ParamSpec, TypeVar, get_args

import torch
from torch import Tensor

Mode = Literal["auto", "triton", "reference"]
P = ParamSpec("P")
R = TypeVar("R")

_MODES: tuple[Mode, ...] = get_args(Mode)
_selected: Mode | None = None


@dataclass(frozen=True)
class Choice:
    """The implementation chosen and the reason for it, in words."""

    use_triton: bool
    reason: str


def mode() -> Mode:
    """The mode in force: what `select` set, else `MACNN_KERNELS`, else auto.

    Raises:
        ValueError: `MACNN_KERNELS` is none of auto, triton, reference.
    """
    if _selected is not None:
        return _selected
    return _checked(os.environ.get("MACNN_KERNELS", "auto"))


def select(name: str | None) -> None:
    """Set the mode for this process; None goes back to `MACNN_KERNELS`.

    Raises:
        ValueError: `name` is none of auto, triton, reference.
    """
    global _selected
    _selected = None if name is None else _checked(name)


@contextmanager
def selected(name: str) -> Iterator[None]:
    """`select` for the length of a with block."""
    before = _selected
    select(name)
    try:
        yield
    finally:
        select(before)


def choose(device: torch.device) -> Choice:
    """Choose the implementation for tensors on `device`.

    Raises:
        ValueError: Triton was asked for by name where it cannot run.
    """
    wanted = mode()
    if wanted == "reference":
        return Choice(False, "the reference was asked for")
    if wanted == "triton":
        if find_spec("triton") is None:
            raise ValueError("kernels: triton was asked for but is not installed")
        if device.type != "cuda" and not interpreted():
            raise ValueError(
                f"kernels: triton was asked for, but the tensors are on {device.type}; "
                "use auto, or TRITON_INTERPRET=1 to interpret the kernels on the CPU"
            )
        return Choice(True, "triton was asked for")
    if device.type != "cuda":
        return Choice(False, f"Triton kernels need a CUDA device, the tensors are on {device.type}")
    if find_spec("triton") is None:
        return Choice(False, "triton is not installed")
    return Choice(True, "the tensors are on a CUDA device")


def implementation(operator: str, tensor: Tensor) -> ModuleType:
    """The module of `operator` that serves `tensor`: its launchers, or its reference.

    float64 is the reference's: the kernels accumulate in float32.

    Raises:
        ValueError: Triton was asked for by name where it cannot run.
    """
    use_triton = choose(tensor.device).use_triton and tensor.dtype != torch.float64
    return import_module(f"macnn_kernels.{operator}.{'launchers' if use_triton else 'reference'}")


def registered(operator: Callable[P, R], reference: Callable[P, R]) -> Callable[P, R]:
    """The registered operator, but under `torch.export` its reference.

    An exported program then holds nothing but PyTorch, and runs where this package is not.
    """
    return reference if torch.compiler.is_exporting() else operator


def interpreted() -> bool:
    """Whether Triton kernels are interpreted on the CPU (`TRITON_INTERPRET=1`)."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


def _checked(name: str) -> Mode:
    for known in _MODES:
        if name == known:
            return known
    raise ValueError(f"kernels: unknown mode '{name}'; choose from {', '.join(_MODES)}")
