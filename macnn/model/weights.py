"""Reading weights files from elsewhere: safetensors, or PyTorch's format, never pickled code."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from macnn.errors import CheckpointError

_KINDS = "expected .safetensors, or a state dictionary of torch.save"


def read_weights(file: Path) -> dict[str, Tensor]:
    """Read named tensors from a `.safetensors` or `.pth` file.

    A `.pth` file is read with `weights_only=True`: nothing in it is executed. A wrapping
    `state_dict` key and a `module.` prefix are taken off.

    Raises:
        CheckpointError: the file is missing, damaged, or holds something else.
    """
    if not file.is_file():
        raise CheckpointError(f"weights file {file} does not exist")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"weights file {file} cannot be read ({error})", hint=_KINDS
        ) from None
    # PyTorch raises anything on a file that is not its own, and advises to run what is in it.
    except Exception:
        raise CheckpointError(
            f"weights file {file} holds no weights, or is damaged", hint=_KINDS
        ) from None
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"weights file {file} is not a state dictionary of tensors")
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}


def load_into(network: nn.Module, tensors: Mapping[str, Tensor], origin: str, name: str) -> None:
    """Load tensors into a network cut at its tap; tensors of the part cut off are left out.

    Args:
        network: the cut network.
        tensors: named tensors.
        origin: where they came from, for messages.
        name: the network's name, for messages.

    Raises:
        CheckpointError: a tensor is missing, has another shape, or is not finite.
    """
    expected = network.state_dict()
    missing = [key for key in expected if key not in tensors]
    if missing:
        raise CheckpointError(
            f"{origin}: not weights of {name}, {len(missing)} of {len(expected)} tensors are "
            f"missing, '{missing[0]}' first",
            hint="pass the file of this network, or another --backbone",
        )
    for key, own in expected.items():
        if tensors[key].shape != own.shape:
            raise CheckpointError(
                f"{origin}: not weights of {name}, '{key}' has shape {tuple(tensors[key].shape)}, "
                f"expected {tuple(own.shape)}"
            )
        if not torch.isfinite(tensors[key]).all():
            raise CheckpointError(f"{origin}: '{key}' holds a value that is not finite")
    network.load_state_dict({key: tensors[key] for key in expected})
