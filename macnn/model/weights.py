"""Tensors from files: weights from elsewhere, and whether tensors are those of a network.

Weights are read from safetensors, or PyTorch's format, never pickled code.
"""

import io
import pickletools
import re
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
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
    r"collections (OrderedDict|Counter)|torch(\.storage)? \w+Storage|torch (Size|device|[a-z]+\d+)"
    r"|torch\._utils _rebuild_(tensor(_v[23])?|parameter)|__builtin__ set"
)
_KEYS = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema")  # first wins
_PREFIXES = (*_KEYS, "module", "backbone", "_orig_mod")
_DEEPEST = 8  # prefixes of a name
_FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def read_weights(file: Path) -> dict[str, Tensor]:
    """Read named tensors from a `.safetensors` file or one of torch.save (`.pth`, `.pt`, `.bin`).

    Files of torch.save are read with `weights_only=True`: nothing in them is executed, and objects
    beside the tensors (argparse.Namespace, a configuration) are left out. Of a checkpoint, the
    first state dictionary under `state_dict`, `model_state_dict`, `model`, `state_dict_ema`,
    `model_ema` is taken, in this order: averaged weights only where there are no others. Names
    keep their prefixes, which `load_into` takes off.

    Raises:
        CheckpointError: the file is missing, damaged, or holds something else.
    """
    if file.suffix == ".safetensors":
        return read_tensors(file, CheckpointError, hint=_KINDS)
    content = read_bytes(file, CheckpointError, limit=_BYTES, hint=_KINDS)
    names: list[str] = []
    loaded = None
    try:
        names = list(dict.fromkeys(_names(content)))
        loaded = _load(content, names)
        if tensors := _unwrapped(loaded):
            return tensors
    # PyTorch raises anything on a file that is not its own, and advises to run what is in it.
    except Exception:
        pass
    others = [name.replace(" ", ".") for name in names if not _MADE_OF.fullmatch(name)]
    if others and any("_rebuild_" in name for name in names):
        raise CheckpointError(
            f"weights file {shown(file)} is not a state dictionary of named tensors, it holds "
            f"{', '.join(shown(name, 100) for name in others[:3])}",
            hint="where it is trusted, save the tensors alone: torch.save(model.state_dict(), ...)",
        )
    if loaded is not None:
        raise CheckpointError(
            f"weights file {shown(file)} is not a state dictionary of named tensors",
            hint=f"expected one, or one under {', '.join(_KEYS)}",
        )
    raise CheckpointError(
        f"weights file {shown(file)} holds no weights, or is damaged", hint=_KINDS
    )


def load_into(network: nn.Module, tensors: Mapping[str, Tensor], origin: str, name: str) -> None:
    """Load tensors into a network cut at its tap; tensors of the part cut off are left out.

    Prefixes of wrappings (`module.`, `model.`, `backbone.`, `_orig_mod.` and keys as in
    `read_weights`, in any order) are taken off: those under which most of the network's names are
    found.

    Args:
        network: the cut network.
        tensors: named tensors, of any precision.
        origin: where they came from, for messages.
        name: the network's name, for messages.

    Raises:
        CheckpointError: a tensor is missing, has another shape or type, or is not finite.
    """
    expected = network.state_dict()
    prefix = _prefix(tensors, expected)
    given = {key: tensors[prefix + key] for key in expected if prefix + key in tensors}
    # Files of before 2018 do not count batches; nor do batch norms with a momentum use the count.
    needed = [key for key in expected if not key.endswith("num_batches_tracked")]
    missing = [key for key in needed if key not in given]
    if missing:
        found = ", ".join(f"'{shown(key, 100)}'" for key in islice(tensors, 3))
        most = 2 * len(missing) > len(needed)
        raise CheckpointError(
            f"{origin}: not weights of {name}, {len(missing)} of {len(needed)} tensors are "
            f"missing, '{missing[0]}' first"
            + (f", but it holds {found}" if most and found else ""),
            hint="name the file of this network, or another `model.backbone`",
        )
    taken = expected | {key: _converted(tensor, expected[key]) for key, tensor in given.items()}
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


def _converted(given: Tensor, own: Tensor) -> Tensor:
    """A tensor that is in another precision only, in the network's."""
    fits = given.shape == own.shape and given.dtype in _FLOATING and own.dtype in _FLOATING
    return given.to(own.dtype) if fits else given


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _prefix(names: Iterable[str], expected: Mapping[str, Tensor]) -> str:
    """The prefix of wrappings under which most expected names are found."""
    found: Counter[str] = Counter()
    for name in names:
        rest = name
        for _ in range(_DEEPEST + 1):
            if rest in expected:
                found[name.removesuffix(rest)] += 1
            head, _, rest = rest.partition(".")
            if head not in _PREFIXES:
                break
    first = sorted(found, key=lambda prefix: [*map(_PREFIXES.index, prefix.split(".")[:-1])])
    return max(first, key=found.__getitem__, default="")


def _unwrapped(loaded: object) -> dict[str, Tensor] | None:
    """The named tensors that a file of torch.save consists of, or holds under a wrapping key."""
    waiting, seen = [loaded], set()
    while waiting:
        held = waiting.pop()
        if not isinstance(held, dict) or id(held) in seen:  # it may hold itself
            continue
        seen.add(id(held))
        if held and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in held.items()):
            return dict(held.items())
        waiting.extend(held.get(key) for key in reversed(_KEYS))
    return None


class _Unread:
    """Stands in for a class that a file names, which is never looked up."""

    def __new__(cls, *_: object) -> OrderedDict[object, object]:  # type: ignore[misc]
        """What PyTorch lets have items and attributes."""
        return OrderedDict()


def _load(content: bytes, names: list[str]) -> object:
    """What a file of torch.save holds.

    Raises:
        ValueError: it needs more than tensors of PyTorch.
        Exception: PyTorch cannot read it.
    """
    others = {
        name.replace("__builtin__ ", "builtins ").replace(" ", ".")
        for name in names
        if not _MADE_OF.fullmatch(name)
    }
    unknown = torch.serialization.get_unsafe_globals_in_checkpoint
    if others and not others.issubset(unknown(io.BytesIO(content))):
        raise ValueError("no tensor")  # PyTorch would call what it knows, or was told to trust
    with torch.serialization.safe_globals([(_Unread, name) for name in others]):
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _names(content: bytes) -> Iterator[str]:
    """Module and name of all classes and functions that a file of torch.save calls for.

    Raises:
        ValueError: it unpacks to more than its own size, or a pickle is too long.
    """
    stream = io.BytesIO(content)
    if not content.startswith(b"PK\x03\x04"):  # as PyTorch decides
        for _ in range(_LEGACY_PICKLES):
            yield from _names_in_pickle(stream)
        return
    with zipfile.ZipFile(stream) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > len(content):
            raise ValueError("packed")
        for entry in entries:
            if entry.filename.lower().endswith(".pkl"):
                yield from _names_in_pickle(io.BytesIO(archive.read(entry)))


def _names_in_pickle(stream: BinaryIO) -> Iterator[str]:
    for opcode, argument, position in pickletools.genops(stream):
        if (position or 0) > _PICKLE_BYTES:
            raise ValueError("too long")
        if opcode.name == "GLOBAL":
            yield str(argument)
