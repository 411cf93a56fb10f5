"""The gate for saved states of training, which others may have written.

A `load_state_dict` checks all of a state before it changes anything, and raises ValueError where it
is none; `fitting` turns that into one line for the user.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from macnn.errors import CheckpointError
from macnn.model.weights import mismatch
from macnn.reading import misfit
from macnn.text import shown

T = TypeVar("T")

LARGEST = 1e100  # that a sum over images may be


@contextmanager
def fitting(origin: object) -> Iterator[None]:
    """Load a state inside; `origin` is the checkpoint's folder, for the message.

    Raises:
        CheckpointError: it does not fit.
    """
    try:
        yield
    except ValueError as problem:
        raise CheckpointError(
            f"{shown(origin)}: its training state does not fit ({problem})"
        ) from None


def typed(form: type[T], fact: Any, name: str) -> T:
    """A fact of a state, as JSON had it, as a value of the type `form`.

    Raises:
        ValueError: it is none.
    """
    try:
        return TypeAdapter(form).validate_json(json.dumps(fact))
    except ValidationError as problem:
        raise ValueError(f"{name}: {misfit(problem)}") from None


def check_tensors(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Check that tensors are exactly those expected, and finite.

    Raises:
        ValueError: they are not.
    """
    if reason := mismatch(expected, given):
        raise ValueError(reason)


def shaped(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor to compare shapes and types with; it takes no memory."""
    return torch.empty(shape, dtype=dtype, device="meta")


def rows(tensors: Mapping[str, Tensor], prefix: str = "") -> int:
    """Rows of the first tensor with this prefix, one at least: of how many processes it is."""
    found = (len(t) for name, t in tensors.items() if name.startswith(prefix) and t.ndim)
    return max(next(found, 1), 1)
