"""Which implementation of an operator runs here, and why.

CUDA tensors take the Triton kernels, all others the plain PyTorch reference. The environment
variable `MACNN_KERNELS` (auto, triton, reference) or `select` overrides this. With
`TRITON_INTERPRET=1`, mode "triton" also runs the Triton kernels on CPU tensors, interpreted.

Each operator's `op.py` asks `use_triton` and imports the kernels only where they run, so that it
can be imported without Triton.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, get_args

import torch
from torch import Tensor

Mode = Literal["auto", "triton", "reference"]

_MODES: tuple[Mode, ...] = get_args(Mode)
_selected: Mode | None = None


@dataclass(frozen=True)
class Choice:
    """The implementation chosen, and the reason in words."""

    use_triton: bool
    reason: str


def mode() -> Mode:
    """The current mode: what `select` set, else `MACNN_KERNELS`, else "auto".

    Raises:
        ValueError: `MACNN_KERNELS` is none of auto, triton, reference.
    """
    if _selected is not None:
        return _selected
    return _checked(os.environ.get("MACNN_KERNELS", "auto"))


def select(name: str | None) -> None:
    """Set the mode for this process; None returns to `MACNN_KERNELS`.

    Raises:
        ValueError: `name` is none of auto, triton, reference.
    """
    global _selected
    _selected = None if name is None else _checked(name)


@contextmanager
def selected(name: str) -> Iterator[None]:
    """Context manager: `select(name)` inside, the previous mode afterwards."""
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


def use_triton(tensor: Tensor) -> bool:
    """Whether the Triton kernels serve `tensor`; float64 always takes the reference.

    Raises:
        ValueError: Triton was asked for by name where it cannot run.
    """
    return choose(tensor.device).use_triton and tensor.dtype != torch.float64


def interpreted() -> bool:
    """Whether Triton kernels are interpreted on the CPU (`TRITON_INTERPRET=1`)."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


def _checked(name: str) -> Mode:
    for known in _MODES:
        if name == known:
            return known
    raise ValueError(f"kernels: unknown mode '{name}'; choose from {', '.join(_MODES)}")
