"""Models from settings, and models from checkpoints."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
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
    build_on,
    build_part_cnn,
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
    backbone = _backbone(settings)
    spec = _spec(LocatorSpec, settings, backbone)
    return spec, build_on(backbone, spec, PartLocator)


def new_macnn(settings: Settings, classes: int) -> tuple[MACNNSpec, MACNN]:
    """As `new_locator`, MA-CNN with untrained classifiers."""
    backbone = _backbone(settings)
    spec = _spec(MACNNSpec, settings, backbone, classes=classes)
    return spec, build_on(backbone, spec, MACNN)


def new_pooled(settings: Settings, classes: int) -> tuple[PooledSpec, PooledClassifier]:
    """As `new_locator`, the baseline."""
    backbone = _backbone(settings)
    spec = _spec(PooledSpec, settings, backbone, classes=classes)
    return spec, build_on(backbone, spec, PooledClassifier)


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
        raise CheckpointError(f"{where}: its network cannot be built ({error})") from None
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
    spec = _spec(MACNNSpec, settings, start.backbone, classes=classes)
    model = build_on(start.backbone, spec, MACNN)
    model.grouping = start.grouping
    model.feature_scale, model.map_scale = start.feature_scale, start.map_scale
    model.shift, model.responses = start.shift, start.responses
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
    spec = _spec(PooledSpec, settings, start.backbone, classes=classes)
    model = build_on(start.backbone, spec, PooledClassifier)
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
    own = {
        "image_size": size,
        "locator_size": seen,
        "stream_size": chosen.stream_size or seen,
        "part_share": chosen.part_share,
        "object_threshold": chosen.object_threshold,
        "shared": chosen.share_streams,
    }
    spec = _spec(PartCNNSpec, settings, locator.backbone, **asdict(checkpoint.network) | own)
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
    taps = ("model.tap", "model.map_tap", "model.split_signs")
    for path in ("model.backbone", *taps, "data.image_size", *paths):
        section, name = path.split(".")
        wanted = getattr(getattr(settings, section), name)
        # What was not given is as it was found; so is the baseline's number of parts.
        if wanted not in (None, described[name]):
            raise UsageError(
                f"`{path}` {shown(wanted)}: {shown(checkpoint.folder)} has "
                f"{shown(described[name])}",
                hint="leave it out, or find the parts again with it",
            )
    return start


def _backbone(settings: Settings) -> Backbone:
    model = settings.model
    return create_backbone(
        model.backbone,
        weights=model.weights,
        tap=model.tap,
        map_tap=model.map_tap,
        split_signs=model.split_signs,
    )


def _check_fit(
    expected: Mapping[str, Tensor], given: Mapping[str, Tensor], checkpoint: Checkpoint
) -> None:
    """Check that tensors are exactly those expected, finite, and scales in their range."""
    reason = mismatch(expected, given)
    if reason is None:
        scales = {name: given[name] for name in expected if name.endswith("_scale.value")}
        deviations = {name: given[name][1] for name in expected if name.endswith("responses.value")}
        for name, value in (scales | deviations).items():
            if not ((value > 0) & (value <= bounds.SCALE)).all():
                reason = f"'{name}' is {value.min():g}"
    if reason:
        raise CheckpointError(
            f"{shown(checkpoint.folder)}: its tensors do not fit its network ({reason})"
        )


def _spec(kind: type[S], settings: Settings, backbone: nn.Module, /, **more: Any) -> S:
    """The spec of a model on this `Backbone`, as the settings describe it, with what they do not.

    Raises:
        UsageError: it is out of bounds.
    """
    assert isinstance(backbone, Backbone)
    of_backbone = asdict(backbone.spec)
    of_backbone["backbone"] = of_backbone.pop("name")
    known = {"image_size": settings.data.image_size} | of_backbone | more
    names = [field.name for field in fields(kind)]
    named = {n: known[n] if n in known else getattr(settings.model, n) for n in names}
    try:
        return TypeAdapter(kind).validate_json(json.dumps(named))
    except ValidationError as error:
        raise UsageError(f"no network can be made so: {misfit(error)}") from None
