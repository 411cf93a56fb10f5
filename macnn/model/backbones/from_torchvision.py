"""Networks of torchvision: any classifier it lists."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from macnn.errors import CheckpointError
from macnn.model.backbones.inputs import InputConfig
from macnn.text import shown

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def names() -> list[str]:
    """All that can be built."""
    return list(models.list_models(module=models))


def build(name: str) -> nn.Module:
    """The whole network with random weights."""
    with warnings.catch_warnings():  # two networks speak of an argument that users do not have
        warnings.filterwarnings("ignore", "The default weight initialization", FutureWarning)
        made_for = {"image_size": input_config(name).image_size} if name.startswith("vit_") else {}
        network: nn.Module = models.get_model(name, weights=None, **made_for)
    return network


def input_config(name: str) -> InputConfig:
    """What torchvision's own weights were trained on."""
    transform = _weights(name).transforms()
    return InputConfig(
        image_size=transform.crop_size[0],
        interpolation="bicubic" if "bicubic" in str(transform.interpolation) else "bilinear",
        mean=tuple(transform.mean),
        std=tuple(transform.std),
    )


def pretrained(name: str) -> Mapping[str, Tensor]:
    """Torchvision's own weights, downloaded once.

    Raises:
        CheckpointError: they cannot be.
    """
    weights = _weights(name)
    try:
        tensors: Mapping[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except Exception as error:  # of the network, or of a file that was cut short
        where = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
        raise CheckpointError(
            f"pretrained weights of {name}: the download failed "
            f"({shown(str(error).partition(chr(10))[0], 200)})",
            hint=f"fetch {weights.url} elsewhere and put it at {shown(where)}, or set "
            "`model.weights` to it",
        ) from None
    return tensors


def _weights(name: str) -> Any:
    return models.get_model_weights(name).DEFAULT
