"""A training that a run folder records: checkpoints, validations, metrics, and how it ended."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from macnn import distributed
from macnn.config import Settings
from macnn.data.samples import ImageSet
from macnn.errors import CheckpointError
from macnn.evaluation.evaluate import evaluate
from macnn.events import Event, Listener, Metrics, Notice
from macnn.model import Model
from macnn.report.plots import learning_curves
from macnn.report.save import save
from macnn.runs.checkpoint import Checkpoint, Kind
from macnn.runs.folder import RunFolder
from macnn.runs.images import check_same_images, note_images
from macnn.runs.saver import Saver
from macnn.runs.session import stopped_error
from macnn.runs.setup import open_loader
from macnn.runs.tensorboard import tensorboard
from macnn.stop import Stopped
from macnn.text import shown
from macnn.training.trainer import Trainer


@dataclass(frozen=True)
class Hooks:
    """What a recorded training calls, and where it may keep what it deletes again."""

    listen: Listener
    after_step: Callable[[], None]
    validate: Callable[[], None]
    scratch: Path


def run_recorded(
    build: Callable[[Hooks], Trainer],
    network: Model,
    kind: Kind,
    images: ImageSet,
    settings: Settings,
    output: Path,
    *,
    overwrite: bool,
    resume: Checkpoint | None,
    listen: Listener,
) -> dict[str, Any]:
    """Train to the end, from the beginning or a checkpoint; returns the summary.

    Args:
        build: makes the trainer.
        network: what it trains.
        kind: what the network is.
        images: the data set, with its validation images if there are any.
        settings: of the run.
        output: the run folder.
        overwrite: replace the run that it holds.
        resume: its checkpoint to go on from.
        listen: hears of the progress.

    Raises:
        MacnnError: a loss that is not finite, a full disk, or a signal (the run has been saved
            then).
    """
    if resume is not None:
        check_same_images(output, images)
    validation = images.split("validation")
    validator = open_loader(settings, validation) if validation.samples else None
    with (
        tensorboard(settings, output, listen) as listen,
        RunFolder(
            output, settings, images.class_names, overwrite=overwrite, resume=resume
        ) as folder,
    ):
        if folder.writes:
            note_images(output, images, owner=folder.run_id)
        saver = Saver(folder, settings, images.class_names, resume)

        def heard(event: Event) -> None:
            folder.record(event)
            listen(event)

        def write() -> Path:
            tensors, facts = trainer.state()
            with trainer.averaged():
                return saver.save(kind, trainer.position.step, network, tensors, facts)

        def after_step() -> None:
            if saver.due(trainer.position.step):
                write()

        def validate() -> None:
            write()
            if validator is None:
                return
            with trainer.averaged():
                result = evaluate(
                    network,
                    validator,
                    None,
                    split="validation",
                    margin=settings.train.margin,
                    listen=heard,
                )
            heard(Metrics("validation", trainer.position.step, result.values()))
            assert result.classification is not None
            saver.update_best(result.classification.joint.top1)

        trainer = build(Hooks(heard, after_step, validate, folder.scratch))
        if resume is not None and resume.progress is not None:
            trainer.load(resume.tensors("trainer"), resume.progress.trainer, resume.folder)
            if trainer.position.step != resume.step:
                raise CheckpointError(
                    f"{shown(resume.folder)}: damaged, a training state of step "
                    f"{trainer.position.step}"
                )
            folder.rewind(resume)
        listen(Notice("info", _announcement(settings, trainer)))
        try:
            trainer.run()
            path = write()
        except Stopped as stopped:
            raise stopped_error(stopped, write()) from None
        validated = [row for row in folder.metrics() if row["phase"] == "validation"]
        summary = {
            **trainer.summary(),
            "validation_accuracy": validated[-1]["accuracy"] if validated else None,
            "best_validation_accuracy": saver.best,
            "checkpoint": str(path),
        }
        if folder.writes:
            curves = learning_curves(folder.metrics())
            save(curves, folder.report / "curves.png", owner=folder.run_id)
        folder.finish(summary)
    return summary


def _announcement(settings: Settings, trainer: Trainer) -> str:
    train, each = settings.train, -(-settings.data.batch_size // distributed.world_size())
    rates = ", ".join(f"{group['base']:g}" for group in trainer.optimiser.param_groups)
    processes = distributed.world_size()
    return (
        f"{settings.data.batch_size} images per step: {processes} process(es) of {each}, "
        f"in {train.grad_accum_steps} piece(s); rates {rates}; {settings.run.precision}"
    )
