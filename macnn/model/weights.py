"""Tensors from files: weights from elsewhere, and whether tensors are those of a network.

Weights are read from safetensors, or PyTorch's format, never pickled code.
"""

import io
import pickletools
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor, nn

from macnn.errors import CheckpointError
from macnn.reading import read_bytes
from macnn.tensors import read_tensors
from macnn.text import shown

_KINDS = "expected .safetensors, or a state dictionary of torch.save"
_BYTES = 16 * 2**30
_PICKLE_BYTES = 4 * 2**20  # of names, shapes and places; the values lie beside them
_LEGACY_PICKLES = 5  # what torch.save wrote one after the other until 2020
# What a state dictionary is made of. PyTorch lets pass more, some of which takes any memory.
_MADE_OF = re.compile(
    r"collections OrderedDict|torch(\.storage)? \w+Storage|torch (Size|device|[a-z]+\d+)"
    r"|torch\._utils _rebuild_(tensor(_v[23])?|parameter)"
)
_FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def read_weights(file: Path) -> dict[str, Tensor]:
    """Read named tensors from a `.safetensors` or `.pth` file.

    A `.pth` file is read with `weights_only=True`: nothing in it is executed. A wrapping
    `state_dict` key and a `module.` prefix are taken off.

    Raises:
        CheckpointError: the file is missing, damaged, or holds something else.
    """
    if file.suffix == ".safetensors":
        return read_tensors(file, CheckpointError, hint=_KINDS)
    content = read_bytes(file, CheckpointError, limit=_BYTES, hint=_KINDS)
    try:
        _refuse_bombs(content)
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    # PyTorch raises anything on a file that is not its own, and advises to run what is in it.
    except Exception:
        raise CheckpointError(
            f"weights file {shown(file)} holds no weights, or is damaged", hint=_KINDS
        ) from None
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in loaded.items()
    ):
        raise CheckpointError(
            f"weights file {shown(file)} is not a state dictionary of named tensors"
        )
    return {name.removeprefix("module."): tensor for name, tensor in loaded.items()}


def load_into(network: nn.Module, tensors: Mapping[str, Tensor], origin: str, name: str) -> None:
    """Load tensors into a network cut at its tap; tensors of the part cut off are left out.

    Args:
        network: the cut network.
        tensors: named tensors, of any precision.
        origin: where they came from, for messages.
        name: the network's name, for messages.

    Raises:
        CheckpointError: a tensor is missing, has another shape or type, or is not finite.
    """
    expected = network.state_dict()
    missing = [key for key in expected if key not in tensors]
    if missing:
        raise CheckpointError(
            f"{origin}: not weights of {name}, {len(missing)} of {len(expected)} tensors are "
            f"missing, '{missing[0]}' first",
            hint="name the file of this network, or another `model.backbone`",
        )
    taken = {
        key: given.to(own.dtype) if given.shape == own.shape and _converts(given, own) else given
        for key, own, given in ((key, own, tensors[key]) for key, own in expected.items())
    }
    if reason := mismatch(expected, taken):
        raise CheckpointError(f"{origin}: not weights of {name}, {reason}")
    network.load_state_dict(taken)


def misshapen(expected: Mapping[str, Tensor], given: Mapping[str, object]) -> str | None:
    """What keeps tensors from being those of a state: names or shapes.

    Args:
        expected: tensors of the same names and shapes; their values do not matter.
        given: what is to be loaded.

    Returns:
        The first misfit, in words; None if there is none.
    """
    if missing := [name for name in expected if name not in given]:
        return f"'{shown(missing[0], 200)}' is missing"
    if further := [name for name in given if name not in expected]:
        return f"'{shown(further[0], 200)}' is none of its tensors"
    for name, own in expected.items():
        what, found = f"'{shown(name, 200)}'", given[name]
        if not isinstance(found, Tensor):
            return f"{what} is {type(found).__name__}, expected a tensor"
        if (shape := tuple(found.shape)) != tuple(own.shape):
            return f"{what} has shape {shown(shape, 100)}, expected {tuple(own.shape)}"
    return None


def mismatch(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str | None:
    """As `misshapen`, and types, or a value that is not finite."""
    if reason := misshapen(expected, given):
        return reason
    for name, own in expected.items():
        found, what = given[name], f"'{shown(name, 200)}'"
        if found.dtype != own.dtype:
            return f"{what} is {_type(found)}, expected {_type(own)}"
        if not found.isfinite().all():
            return f"{what} holds a value that is not finite"
    return None


def _converts(given: Tensor, own: Tensor) -> bool:
    """Whether a tensor is in another precision only."""
    return given.dtype in _FLOATING and own.dtype in _FLOATING


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _refuse_bombs(content: bytes) -> None:
    """Check that reading a file of PyTorch takes no more memory than the file.

    Raises:
        ValueError: it holds more than its own size, or pickles of other than tensors.
    """
    stream = io.BytesIO(content)
    if not content.startswith(b"PK\x03\x04"):  # as PyTorch decides
        for _ in range(_LEGACY_PICKLES):
            _check_pickle(stream)
        return
    with zipfile.ZipFile(stream) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > len(content):
            raise ValueError("packed")
        for entry in entries:
            if entry.filename.lower().endswith(".pkl"):
                _check_pickle(io.BytesIO(archive.read(entry)))


def _check_pickle(stream: BinaryIO) -> None:
    for opcode, argument, position in pickletools.genops(stream):
        if (position or 0) > _PICKLE_BYTES:
            raise ValueError("too long")
        if opcode.name == "GLOBAL" and not _MADE_OF.fullmatch(str(argument)):
            raise ValueError("no tensor")
