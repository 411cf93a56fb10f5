"""Networks from settings, and networks from checkpoints."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from macnn.config import Settings
from macnn.errors import CheckpointError, UsageError
from macnn.model import (
    Model,
    Network,
    NetworkSpec,
    PartCNN,
    PartCNNSpec,
    build_network,
    build_part_cnn,
)
from macnn.model.backbones import BackboneSpec, ShapesOnly, build_backbone
from macnn.model.part_cnn import around
from macnn.model.weights import mismatch
from macnn.reading import misfit
from macnn.runs.checkpoint import Checkpoint
from macnn.text import shown

M = TypeVar("M", bound=nn.Module)
S = TypeVar("S", bound=NetworkSpec)


def new_network(settings: Settings, classes: int) -> Network:
    """The network that the settings describe, its backbone loaded, everything else untrained.

    Raises:
        UsageError: an unknown backbone, no weights for it, or no map at this image size.
        CheckpointError: weights that cannot be read or are of another network.
    """
    model = settings.model
    spec = _described(
        NetworkSpec,
        backbone=model.backbone,
        tap=model.tap,
        image_size=settings.data.image_size,
        parts=model.parts,
        classes=classes,
        hidden=model.hidden,
        activation=model.activation,
        power=model.power,
        part_features=model.part_features,
        map_gradient=model.map_gradient,
    )
    return Network(spec, build_backbone(BackboneSpec(model.backbone, model.tap), model.weights))


def load_network(checkpoint: Checkpoint) -> Network:
    """MA-CNN, or the baseline, of a checkpoint.

    Raises:
        CheckpointError: its tensors do not fit its description.
    """
    return _loaded(checkpoint, NetworkSpec, build_network)


def load_part_cnn(checkpoint: Checkpoint) -> PartCNN:
    """The part CNN of a checkpoint of that kind.

    Raises:
        CheckpointError: its tensors do not fit its description.
    """
    return _loaded(checkpoint, PartCNNSpec, build_part_cnn)


def load_model(checkpoint: Checkpoint) -> Model:
    """What a checkpoint of any kind holds.

    Raises:
        CheckpointError: its tensors do not fit its description.
    """
    return (load_part_cnn if checkpoint.kind == "part-cnn" else load_network)(checkpoint)


def new_part_cnn(checkpoint: Checkpoint, settings: Settings) -> PartCNN:
    """A part CNN around a trained MA-CNN; its streams begin as copies of that one's backbone.

    Raises:
        UsageError: the photographs' size is no multiple of the one that the MA-CNN sees.
        CheckpointError: its tensors do not fit its description.
    """
    locator, chosen = load_network(checkpoint), settings.part_cnn
    size, seen = settings.data.image_size, locator.spec.image_size
    if size % seen:
        raise UsageError(
            f"--img-size {size}: {shown(checkpoint.folder)} finds parts at {seen} px",
            hint=f"use {seen} or a multiple of it",
        )
    spec = _described(
        PartCNNSpec,
        **asdict(locator.spec) | {"image_size": size},
        locator_size=seen,
        stream_size=chosen.stream_size or seen,
        part_share=chosen.part_share,
        object_threshold=chosen.object_threshold,
        shared=chosen.share_streams,
    )
    return around(locator, spec)


def continue_network(checkpoint: Checkpoint, settings: Settings, classes: int) -> Network:
    """A network with the backbone and grouping layers of a checkpoint, and new classifiers.

    With `settings.model.parts` = 0 only the backbone is kept: the baseline of the same start.

    Raises:
        UsageError: the settings contradict the checkpoint.
        CheckpointError: its tensors do not fit its description.
    """
    spec, model = _spec(checkpoint, NetworkSpec), settings.model
    for name, wanted, has in (
        ("--backbone", model.backbone, spec.backbone),
        ("--tap", model.tap, spec.tap),
        ("--img-size", settings.data.image_size, spec.image_size),
        ("--hidden", model.hidden, spec.hidden),
        ("--parts", model.parts, spec.parts),
    ):
        if wanted != has and not (name == "--parts" and wanted == 0):
            raise UsageError(
                f"{name} {shown(wanted)}: {shown(checkpoint.folder)} has {shown(has)}",
                hint="leave the option out, or run 'macnn pretrain-parts' with it",
            )
    start = load_network(checkpoint)
    changed = {
        "parts": model.parts,
        "classes": classes,
        "activation": model.activation,
        "power": model.power,
        "part_features": model.part_features,
        "map_gradient": model.map_gradient,
        "response_scale": spec.response_scale * model.gain / checkpoint.settings.model.gain,
    }
    network = Network(_described(NetworkSpec, **asdict(spec) | changed), start.backbone)
    if network.grouping is not None:
        network.grouping = start.grouping
    return network


def fill(network: M, checkpoint: Checkpoint) -> M:
    """Give a network the tensors of a checkpoint, in place.

    Raises:
        CheckpointError: they are not exactly its own, or not finite.
    """
    tensors = checkpoint.tensors("model")
    _check_fit(network.state_dict(), tensors, checkpoint)
    network.load_state_dict(tensors)
    return network


def _loaded(checkpoint: Checkpoint, kind: type[S], build: Callable[[S], M]) -> M:
    """What a checkpoint of this kind holds; memory is only taken for what is in its file."""
    spec = _spec(checkpoint, kind)
    try:
        with torch.random.fork_rng(devices=[]), ShapesOnly():
            shapes = build(spec).state_dict()
    except UsageError as error:
        raise CheckpointError(
            f"{shown(checkpoint.folder)}: its network cannot be built ({error.problem})"
        ) from None
    tensors = checkpoint.tensors("model")
    _check_fit(shapes, tensors, checkpoint)
    network = build(spec)
    network.load_state_dict(tensors)
    return network


def _check_fit(
    expected: Mapping[str, Tensor], given: Mapping[str, Tensor], checkpoint: Checkpoint
) -> None:
    if reason := mismatch(expected, given):
        raise CheckpointError(
            f"{shown(checkpoint.folder)}: its tensors do not fit its network ({reason})"
        )


def _spec(checkpoint: Checkpoint, kind: type[S]) -> S:
    spec, size = checkpoint.network, checkpoint.settings.data.image_size
    if type(spec) is not kind:
        raise CheckpointError(f"{shown(checkpoint.folder)}: a '{checkpoint.kind}' checkpoint")
    if spec.image_size != size:
        raise CheckpointError(
            f"{shown(checkpoint.folder)}: damaged, its network sees {spec.image_size} px and its "
            f"settings say {size}"
        )
    return spec


def _described(kind: type[S], **fields: Any) -> S:
    """A description that a checkpoint may hold.

    Raises:
        UsageError: it is out of bounds.
    """
    try:
        return TypeAdapter(kind).validate_json(json.dumps(fields))
    except ValidationError as error:
        raise UsageError(f"no network can be made so: {misfit(error)}") from None
