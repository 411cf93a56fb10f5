"""Reading safetensors files that others may have written."""

import hashlib
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from macnn.errors import MacnnError
from macnn.reading import read_bytes, why
from macnn.text import shown

TENSOR_BYTES = 4 * 2**30


def read_tensors(
    file: Path, error: type[MacnnError], *, sha256: str | None = None, hint: str | None = None
) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file; the bytes that are checked are the bytes used.

    Args:
        file: to read.
        error: the kind of error to raise.
        sha256: what its content must hash to, in hexadecimal.
        hint: the remedy to name.

    Raises:
        MacnnError: as `read_bytes`, or it has another hash, or is no safetensors file.
    """
    content = read_bytes(file, error, limit=TENSOR_BYTES, hint=hint)
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise error(f"{shown(file)}: damaged (SHA-256)", hint=hint)
    try:
        return safetensors.torch.load(content)
    # A header can name types that PyTorch, or this version of it, does not have.
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as problem:
        raise error(f"{shown(file)}: damaged ({why(problem)})", hint=hint) from None
