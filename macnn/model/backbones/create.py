"""Backbones by name, with weights."""

from dataclasses import replace
from pathlib import Path

import torch

from macnn.errors import UsageError
from macnn.model import tiny
from macnn.model.backbones.backbone import (
    TINY,
    Backbone,
    BackboneSpec,
    both,
    input_config,
    library,
)
from macnn.model.backbones.taps import is_signed
from macnn.model.modes import evaluating
from macnn.model.weights import load_into, read_weights
from macnn.text import shown

PRETRAINED = ("pretrained", "imagenet")


def create_backbone(
    name: str,
    *,
    weights: str | Path | None = None,
    tap: str | None = None,
    map_tap: str | None = None,
    split_signs: bool | None = None,
    normalise: bool = True,
) -> Backbone:
    """Create a backbone, and load its weights.

    Args:
        name: "tiny", any torchvision classification network, or "timm/NAME" for any image model of
            timm.
        weights: a .safetensors or .pth file, "pretrained" (or "imagenet") for the library's own,
            downloaded, "none" for random ones, or None for the packaged weights of "tiny".
        tap: layer whose output the part features are averaged over; by default the last with a
            spatial map.
        map_tap: layer whose channels are grouped into parts; by default the same.
        split_signs: whether every channel of that layer becomes two, its positive and its negative
            part; by default where it has values of both signs.
        normalise: whether it normalises images, uint8 or float in [0, 1], as its weights expect;
            otherwise images come normalised.

    Raises:
        UsageError: a `ValueError`; an unknown name or tap, timm missing, or no weights given.
        CheckpointError: a missing or unreadable weights file, or one of another network.
    """
    backbone = Backbone(BackboneSpec(name, tap, map_tap, bool(split_signs)), normalise=normalise)
    _load(backbone, weights)
    if split_signs is None and _signed(backbone):
        backbone.spec = replace(backbone.spec, split_signs=True)
    return backbone


def _load(backbone: Backbone, weights: str | Path | None) -> None:
    name = backbone.spec.name
    if weights == "none":
        return
    if name == TINY and weights in (None, *PRETRAINED):
        tensors = read_weights(tiny.tiny_weights_path())
    elif weights in PRETRAINED:
        tensors = library(name).pretrained(name)
    elif weights is not None:
        tensors = read_weights(Path(weights))
    else:
        raise UsageError(
            f"backbone {shown(name)}: no weights given",
            hint="set `model.weights` to a file, to pretrained (the library downloads them) or to "
            "none (random)",
        )
    load_into(backbone.body, tensors, f"weights {shown(weights or 'packaged')}", name)


@torch.no_grad()
def _signed(backbone: Backbone) -> bool:
    """Whether what maps are computed from has both signs in a test image."""
    size = input_config(backbone.spec.name).image_size
    noise = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    with evaluating(backbone):
        return is_signed(both(backbone(noise))[0])
