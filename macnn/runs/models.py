"""Models from settings, and models from checkpoints."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeVar

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from macnn import bounds
from macnn.config import Settings
from macnn.errors import CheckpointError, UsageError
from macnn.model import MACNN, Backbone, Model, PartCNN, PartLocator, PooledClassifier
from macnn.model.backbones import ShapesOnly, create_backbone
from macnn.model.specs import (
    LocatorSpec,
    MACNNSpec,
    PartCNNSpec,
    PooledSpec,
    Spec,
    build,
    build_locator,
    build_macnn,
    build_part_cnn,
    build_pooled,
)
from macnn.model.weights import mismatch
from macnn.reading import misfit
from macnn.runs.checkpoint import Checkpoint
from macnn.text import shown

M = TypeVar("M", bound=nn.Module)
S = TypeVar("S", bound=Spec)


def new_locator(settings: Settings) -> tuple[LocatorSpec, PartLocator]:
    """The part locator that the settings describe, its backbone loaded, all else untrained.

    Raises:
        UsageError: an unknown backbone, no weights for it, or no map at this image size.
        CheckpointError: weights that cannot be read or are of another network.
    """
    spec = _described(LocatorSpec, **_locator(settings))
    return spec, build_locator(spec, _backbone(settings))


def new_macnn(settings: Settings, classes: int) -> tuple[MACNNSpec, MACNN]:
    """As `new_locator`, MA-CNN with untrained classifiers."""
    spec = _described(MACNNSpec, **_macnn(settings, classes))
    return spec, build_macnn(spec, _backbone(settings))


def new_pooled(settings: Settings, classes: int) -> tuple[PooledSpec, PooledClassifier]:
    """As `new_locator`, the baseline."""
    spec = _described(PooledSpec, **_pooled(settings, classes))
    return spec, build_pooled(spec, _backbone(settings))


def load_model(checkpoint: Checkpoint) -> Model:
    """What a checkpoint holds; memory is only taken for what is in its file.

    Raises:
        CheckpointError: its tensors do not fit its description.
    """
    spec, where = checkpoint.network, shown(checkpoint.folder)
    if spec.image_size != (size := checkpoint.settings.data.image_size):
        raise CheckpointError(
            f"{where}: damaged, its network sees {spec.image_size} px and its settings say {size}"
        )
    try:
        with torch.random.fork_rng(devices=[]), ShapesOnly():
            shapes = build(spec).state_dict()
    except UsageError as error:
        raise CheckpointError(f"{where}: its network cannot be built ({error.problem})") from None
    tensors = checkpoint.tensors("model")
    _check_fit(shapes, tensors, checkpoint)
    model = build(spec)
    model.load_state_dict(tensors)
    return model


def load(checkpoint: Checkpoint, kind: type[M]) -> M:
    """What a checkpoint holds, of a kind that its caller has seen to.

    Raises:
        CheckpointError: it holds something else, or its tensors do not fit its description.
    """
    model = load_model(checkpoint)
    if not isinstance(model, kind):
        raise CheckpointError(f"{shown(checkpoint.folder)}: a '{checkpoint.kind}' checkpoint")
    return model


def continue_macnn(
    checkpoint: Checkpoint, settings: Settings, classes: int
) -> tuple[MACNNSpec, MACNN]:
    """MA-CNN with the backbone and grouping layers of found parts, and new classifiers.

    Raises:
        UsageError: the settings contradict the checkpoint.
        CheckpointError: its tensors do not fit its description.
    """
    start = _start(checkpoint, settings, "model.hidden", "model.parts")
    spec = _described(MACNNSpec, **_macnn(settings, classes))
    model = build_macnn(spec, _own_backbone(start))
    model.grouping = start.grouping
    model.feature_scale = start.feature_scale
    gain = settings.model.gain
    scale = start.response_scale.number * gain / checkpoint.settings.model.gain
    if not 0 < scale <= bounds.SCALE:
        raise UsageError(f"`model.gain` {gain:g}: responses would be multiplied by {scale:g}")
    model.response_scale.set(scale)
    return spec, model


def continue_pooled(
    checkpoint: Checkpoint, settings: Settings, classes: int
) -> tuple[PooledSpec, PooledClassifier]:
    """The baseline of the same start: with the backbone of found parts.

    Raises:
        UsageError: the settings contradict the checkpoint.
        CheckpointError: its tensors do not fit its description.
    """
    start = _start(checkpoint, settings)
    spec = _described(PooledSpec, **_pooled(settings, classes))
    model = build_pooled(spec, _own_backbone(start))
    model.feature_scale = start.feature_scale
    return spec, model


def new_part_cnn(checkpoint: Checkpoint, settings: Settings) -> tuple[PartCNNSpec, PartCNN]:
    """A part CNN around a trained MA-CNN; its streams begin as copies of that one's backbone.

    Raises:
        UsageError: the photographs' size is no multiple of the one that the MA-CNN sees.
        CheckpointError: its tensors do not fit its description.
    """
    locator, chosen = load(checkpoint, MACNN), settings.part_cnn
    size, seen = settings.data.image_size, locator.image_size
    if size % seen:
        raise UsageError(
            f"`data.image_size` {size}: {shown(checkpoint.folder)} finds parts at {seen} px",
            hint=f"use {seen} or a multiple of it",
        )
    spec = _described(
        PartCNNSpec,
        **asdict(checkpoint.network) | {"image_size": size},
        locator_size=seen,
        stream_size=chosen.stream_size or seen,
        part_share=chosen.part_share,
        object_threshold=chosen.object_threshold,
        shared=chosen.share_streams,
    )
    return spec, build_part_cnn(spec, locator)


def fill(model: M, checkpoint: Checkpoint) -> M:
    """Give a model the tensors of a checkpoint, in place.

    Raises:
        CheckpointError: they are not exactly its own, or not finite.
    """
    tensors = checkpoint.tensors("model")
    _check_fit(model.state_dict(), tensors, checkpoint)
    model.load_state_dict(tensors)
    return model


def _start(checkpoint: Checkpoint, settings: Settings, *paths: str) -> PartLocator:
    """Found parts to train from, checked to be of the settings; `paths` are of the parts alone."""
    start, described = load(checkpoint, PartLocator), asdict(checkpoint.network)
    wanted = _locator(settings)
    for path in ("model.backbone", "model.tap", "data.image_size", *paths):
        name = path.split(".")[1]
        if wanted[name] != described[name]:
            raise UsageError(
                f"`{path}` {shown(wanted[name])}: {shown(checkpoint.folder)} has "
                f"{shown(described[name])}",
                hint="leave it out, or find the parts again with it",
            )
    return start


def _own_backbone(model: PartLocator) -> Backbone:
    assert isinstance(model.backbone, Backbone)
    return model.backbone


def _backbone(settings: Settings) -> Backbone:
    model = settings.model
    return create_backbone(model.backbone, weights=model.weights, tap=model.tap)


def _locator(settings: Settings) -> dict[str, Any]:
    model = settings.model
    names = ("backbone", "tap", "parts", "hidden", "activation", "power")
    return {name: getattr(model, name) for name in names} | {"image_size": settings.data.image_size}


def _macnn(settings: Settings, classes: int) -> dict[str, Any]:
    model = settings.model
    return _locator(settings) | {
        "classes": classes,
        "part_features": model.part_features,
        "map_gradient": model.map_gradient,
    }


def _pooled(settings: Settings, classes: int) -> dict[str, Any]:
    described = _locator(settings)
    return {name: described[name] for name in ("backbone", "tap", "image_size")} | {
        "classes": classes
    }


def _check_fit(
    expected: Mapping[str, Tensor], given: Mapping[str, Tensor], checkpoint: Checkpoint
) -> None:
    """Check that tensors are exactly those expected, finite, and scales in their range."""
    reason = mismatch(expected, given)
    scales = [name for name in expected if name.endswith("_scale.value")]
    if reason is None:
        wrong = [name for name in scales if not 0 < given[name] <= bounds.SCALE]
        reason = f"'{wrong[0]}' is {given[wrong[0]].item():g}" if wrong else None
    if reason:
        raise CheckpointError(
            f"{shown(checkpoint.folder)}: its tensors do not fit its network ({reason})"
        )


def _described(kind: type[S], **fields: Any) -> S:
    """A description that a checkpoint may hold.

    Raises:
        UsageError: it is out of bounds.
    """
    try:
        return TypeAdapter(kind).validate_json(json.dumps(fields))
    except ValidationError as error:
        raise UsageError(f"no network can be made so: {misfit(error)}") from None
