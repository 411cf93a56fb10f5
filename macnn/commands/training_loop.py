"""The loop of every training that a run folder records: it saves, validates, logs and stops."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from macnn import distributed
from macnn.config import Settings
from macnn.data.samples import ImageSet
from macnn.errors import CheckpointError
from macnn.evaluation.evaluate import evaluate
from macnn.events import Listener, Metrics, Notice
from macnn.model.specs import Spec
from macnn.report.plots import learning_curves
from macnn.report.save import save
from macnn.runs.checkpoint import Checkpoint, Kind
from macnn.runs.folder import RunFolder, check_output
from macnn.runs.images import check_same_images, note_images
from macnn.runs.resume import warn_if_others_may_write
from macnn.runs.saver import Saver
from macnn.runs.session import stopped_error
from macnn.runs.setup import open_loader
from macnn.runs.tensorboard import TensorBoard
from macnn.stop import Stopped
from macnn.text import shown
from macnn.training.saved import fitting
from macnn.training.trainer import PhaseEnd, RoundEnd, Step, Trainer


def open_output(
    settings: Settings,
    init: Checkpoint | None,
    resume: Checkpoint | None,
    *,
    overwrite: bool,
    listen: Listener,
) -> Path:
    """The run folder to write, once it is clear that it may be written.

    Raises:
        UsageError: it may not.
    """
    if init is not None:
        init.say_where_from(listen)
    if resume is None:
        return check_output(settings.run.output, overwrite)
    warn_if_others_may_write(resume.run, listen)
    return resume.run


def train_in_run(
    trainer: Trainer,
    kind: Kind,
    spec: Spec,
    images: ImageSet,
    settings: Settings,
    output: Path,
    *,
    overwrite: bool,
    resume: Checkpoint | None,
    listen: Listener,
    probed: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Train to the end, from the beginning or a checkpoint; returns the summary.

    Args:
        trainer: trains the model.
        kind: what the model is.
        spec: how it is built again.
        images: the data set, with its validation images if there are any.
        settings: of the run.
        output: the run folder.
        overwrite: replace the run that it holds.
        resume: its checkpoint to go on from.
        listen: hears of the progress.
        probed: what linear probes reached before training, to record.

    Raises:
        MacnnError: a loss that is not finite, a full disk, or a signal (the run has been saved
            then).
    """
    validation = images.split("validation")
    validator = open_loader(settings, validation) if validation.samples else None
    if resume is not None:
        check_same_images(output, images)
        _load(trainer, resume)
    with (
        TensorBoard(output, wanted=settings.run.tensorboard) as board,
        RunFolder(
            output, settings, images.class_names, overwrite=overwrite, resume=resume
        ) as folder,
    ):
        if folder.writes:
            note_images(output, images, owner=folder.run_id)
        if resume is not None:
            folder.rewind(resume)
        saver = Saver(folder, settings, spec, images.class_names, resume)

        def checkpoint() -> Path:
            step, state = trainer.position.step, trainer.state_dict()
            return saver.save(kind, step, trainer.averaged_model, state)

        def log(metrics: Metrics) -> None:
            folder.record(metrics)
            board.record(metrics)
            listen(metrics)

        listen(Notice("info", _announcement(settings, trainer)))
        if probed:
            log(Metrics("probe", 0, probed))
        try:
            for reached in trainer.steps():
                match reached:
                    case Step(number):
                        if saver.due(number):
                            checkpoint()
                    case PhaseEnd(metrics):
                        log(metrics)
                    case RoundEnd():
                        checkpoint()
                        if validator is not None:
                            result = evaluate(
                                trainer.averaged_model,
                                validator,
                                None,
                                split="validation",
                                margin=settings.train.margin,
                                listen=listen,
                            )
                            values = result.values()
                            log(Metrics("validation", trainer.position.step, values))
                            saver.update_best(values["accuracy"])
            path = checkpoint()
        except Stopped:
            raise stopped_error(checkpoint()) from None
        rows = folder.metrics()
        accuracy = {row["phase"]: row["accuracy"] for row in rows if "accuracy" in row}
        summary = {
            **trainer.summary(),
            "validation_accuracy": accuracy.get("validation"),
            "best_validation_accuracy": saver.best,
            "probe_accuracy": _floor(rows),
            "checkpoint": str(path),
        }
        if folder.writes:
            curves = learning_curves(folder.metrics())
            save(curves, folder.report / "curves.png", owner=folder.run_id)
        folder.finish(summary)
        _warn_below_floor(summary, listen)
    return summary


def _floor(rows: list[dict[str, Any]]) -> float | None:
    """The better of the linear probes that were recorded."""
    found = [row for row in rows if row["phase"] == "probe"]
    return max((v for row in found for k, v in row.items() if "accuracy" in k), default=None)


def _warn_below_floor(summary: dict[str, Any], listen: Listener) -> None:
    reached, floor = summary["validation_accuracy"], summary["probe_accuracy"]
    if None not in (reached, floor) and reached < floor:
        text = (
            f"training ended at {reached:.1%} of the validation images, below the {floor:.1%} of a "
            "linear probe of the features it began with: lower `train.lr`, or keep "
            "`train.batch_norm=eval`"
        )
        listen(Notice("warning", text))


def _load(trainer: Trainer, resume: Checkpoint) -> None:
    """Let a trainer go on from a checkpoint, if that one leaves anything to do.

    Raises:
        CheckpointError: its state is not of this training.
    """
    if resume.progress is None:
        return
    with fitting(resume.folder):
        trainer.load_state_dict({**resume.tensors("trainer"), **resume.progress.trainer})
    if trainer.position.step != resume.step:
        raise CheckpointError(
            f"{shown(resume.folder)}: damaged, a training state of step {trainer.position.step}"
        )


def _announcement(settings: Settings, trainer: Trainer) -> str:
    processes = distributed.world_size()
    each = -(-settings.data.batch_size // processes)
    lr = ", ".join(f"{group['base']:g}" for group in trainer.optimiser.param_groups)
    return (
        f"{settings.data.batch_size} images per step: {processes} process(es) of {each}, "
        f"in {settings.train.grad_accum_steps} micro-batch(es); learning rates {lr}; "
        f"{settings.run.precision}"
    )
