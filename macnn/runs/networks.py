"""Networks from settings, and networks from checkpoints."""

from dataclasses import replace

from macnn.config import Settings
from macnn.errors import CheckpointError, UsageError
from macnn.model import Network, NetworkSpec, build_network
from macnn.model.backbones import BackboneSpec, build_backbone
from macnn.runs.checkpoint import Checkpoint


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
    """The network of a checkpoint.

    Raises:
        CheckpointError: its tensors do not fit its description.
    """
    network = build_network(_spec(checkpoint))
    try:
        network.load_state_dict(checkpoint.tensors("model"))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"{checkpoint.folder}: tensors do not fit ({reason})") from None
    return network


def continue_network(checkpoint: Checkpoint, settings: Settings, classes: int) -> Network:
    """A network with the backbone and grouping layers of a checkpoint, and new classifiers.

    With `settings.model.parts` = 0 only the backbone is kept: the baseline of the same start.

    Raises:
        UsageError: the settings contradict the checkpoint.
        CheckpointError: its tensors do not fit its description.
    """
    spec, model = _spec(checkpoint), settings.model
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
    measured_gain = checkpoint.settings["model"]["gain"]
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


def _spec(checkpoint: Checkpoint) -> NetworkSpec:
    try:
        return NetworkSpec(**checkpoint.network)
    except TypeError as error:
        raise CheckpointError(f"{checkpoint.folder}: unknown network ({error})") from None
