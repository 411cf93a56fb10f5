"""Argument checks shared by the operators: shapes and dtypes only, never the data.

Every check raises a `ValueError` that names the argument, what it is and what was expected.
"""

import torch
from torch import Tensor

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def describe(tensor: Tensor) -> str:
    """Shape and dtype in words, for messages."""
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def rank(name: str, tensor: Tensor, layout: str) -> None:
    """Check that `tensor` has one dimension per name in `layout`, such as "B, C, H, W"."""
    if tensor.dim() != len(layout.split(",")):
        raise ValueError(f"{name}: expected ({layout}), got {describe(tensor)}")


def floating(name: str, tensor: Tensor) -> None:
    """Check that `tensor` has a supported floating-point dtype."""
    if tensor.dtype not in FLOATS:
        raise ValueError(f"{name}: expected a floating-point dtype, got {describe(tensor)}")


def shape(name: str, tensor: Tensor, expected: tuple[int, ...], why: str) -> None:
    """Check that `tensor` has exactly the shape `expected`; `why` names where it comes from."""
    if tuple(tensor.shape) != expected:
        raise ValueError(f"{name}: expected {expected} ({why}), got {describe(tensor)}")


def same_device(**tensors: Tensor) -> None:
    """Check that all tensors are on one device."""
    (first, reference), *others = tensors.items()
    for name, tensor in others:
        if tensor.device != reference.device:
            raise ValueError(f"{name}: on {tensor.device}, but {first} is on {reference.device}")
