"""Networks from settings, and networks from checkpoints."""

from copy import deepcopy
from dataclasses import asdict, replace
from typing import TypeVar

from torch import nn

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
from macnn.model.backbones import BackboneSpec, build_backbone
from macnn.runs.checkpoint import Checkpoint

M = TypeVar("M", bound=nn.Module)
S = TypeVar("S", bound=NetworkSpec)


def new_network(settings: Settings, classes: int) -> Network:
    """The network that the settings describe, its backbone loaded, everything else untrained.

    Raises:
        UsageError: an unknown backbone, or no weights for it.
        CheckpointError: weights that cannot be read or are of another network.
    """
    model = settings.model
    spec = NetworkSpec(
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
    return _filled(build_network(_spec(checkpoint, NetworkSpec)), checkpoint)


def load_part_cnn(checkpoint: Checkpoint) -> PartCNN:
    """The part CNN of a checkpoint of that kind.

    Raises:
        CheckpointError: its tensors do not fit its description.
    """
    return _filled(build_part_cnn(_spec(checkpoint, PartCNNSpec)), checkpoint)


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
            f"--img-size {size}: {checkpoint.folder} finds parts at {seen} px",
            hint=f"use {seen} or a multiple of it",
        )
    spec = PartCNNSpec(
        **asdict(locator.spec) | {"image_size": size},
        locator_size=seen,
        stream_size=chosen.stream_size or seen,
        part_share=chosen.part_share,
        object_threshold=chosen.object_threshold,
        shared=chosen.share_streams,
    )
    copies = [deepcopy(locator.backbone) for _ in range(1 if spec.shared else spec.streams)]
    return PartCNN(spec, locator, copies)


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
                f"{name} {wanted}: {checkpoint.folder} has {has}",
                hint="leave the option out, or run 'macnn pretrain-parts' with it",
            )
    start = load_network(checkpoint)
    measured_gain = checkpoint.settings.model.gain
    spec = replace(
        spec,
        parts=model.parts,
        classes=classes,
        activation=model.activation,
        power=model.power,
        part_features=model.part_features,
        map_gradient=model.map_gradient,
        response_scale=spec.response_scale * model.gain / measured_gain,
    )
    network = Network(spec, start.backbone)
    if network.grouping is not None:
        network.grouping = start.grouping
    return network


def _filled(network: M, checkpoint: Checkpoint) -> M:
    try:
        network.load_state_dict(checkpoint.tensors("model"))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"{checkpoint.folder}: tensors do not fit ({reason})") from None
    return network


def _spec(checkpoint: Checkpoint, kind: type[S]) -> S:
    if type(checkpoint.network) is not kind:
        raise CheckpointError(f"{checkpoint.folder}: a '{checkpoint.kind}' checkpoint")
    return checkpoint.network
