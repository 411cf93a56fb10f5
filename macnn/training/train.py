"""The stage behind `macnn train`: settings and found parts in, run folder out."""

from time import perf_counter
from typing import Any

from macnn.config import Settings
from macnn.errors import UsageError
from macnn.evaluation.evaluate import evaluate
from macnn.events import Event, Listener, Metrics
from macnn.report.plots import learning_curves
from macnn.report.save import save
from macnn.runs.checkpoint import Checkpoint
from macnn.runs.folder import RunFolder, check_output
from macnn.runs.networks import continue_network, new_network, save_network
from macnn.runs.setup import open_images, open_loader, place, prepare
from macnn.training.alternation import Alternation


def run(
    settings: Settings, init: Checkpoint | None, *, overwrite: bool, listen: Listener
) -> dict[str, Any]:
    """Train MA-CNN from found parts, or with `parts` = 0 its baseline; returns the summary.

    Raises:
        MacnnError: bad settings, data or checkpoint (nothing has been written then), or a loss
            that is not finite.
    """
    output = check_output(settings.run.output, overwrite)
    if settings.model.parts and init is None:
        raise UsageError(
            "no parts to train from",
            hint="pass --init RUN of 'macnn pretrain-parts', or --parts 0 for the baseline",
        )
    device = prepare(settings)
    images = open_images(settings)
    classes = len(images.class_names)
    bare = continue_network(init, settings, classes) if init else new_network(settings, classes)
    network = place(bare, settings, device)
    training, validation = images.split("train"), images.split("validation")

    with RunFolder(output, settings, images.class_names, overwrite=overwrite) as folder:

        def heard(event: Event) -> None:
            folder.record(event)
            listen(event)

        augment = settings.data.augment
        alternation = Alternation(
            network,
            open_loader(settings, training, augment=augment, shuffle=True, stream=1),
            open_loader(settings, training, augment=augment, shuffle=True, stream=2),
            open_loader(settings, training),
            settings.train,
            heard,
        )
        validator = open_loader(settings, validation)
        seconds, accuracy = 0.0, None
        while not alternation.finished:
            start = perf_counter()
            alternation.round()
            seconds += perf_counter() - start
            if validation.samples:
                result = evaluate(
                    network,
                    validator,
                    None,
                    split="validation",
                    margin=settings.train.margin,
                    listen=heard,
                )
                accuracy = result.classification.joint.top1 if result.classification else None
                heard(Metrics("validation", alternation.position.step, result.values()))
        path = save_network(
            network,
            folder.checkpoints,
            "macnn" if network.spec.parts else "baseline",
            alternation.position.step,
            class_names=images.class_names,
            settings=settings,
        )
        epochs = alternation.position.convolution_epoch
        summary = {
            "rounds": alternation.position.round,
            "steps": alternation.position.step,
            "epochs": epochs,
            "seconds_per_epoch": seconds / epochs,
            "validation_accuracy": accuracy,
            "checkpoint": str(path),
        }
        save(learning_curves(folder.metrics()), folder.report / "curves.png")
        folder.finish(summary)
    return summary
