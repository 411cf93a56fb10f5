"""The stage behind `macnn train`: settings and found parts in, run folder out."""

from pathlib import Path
from typing import Any

from macnn import world
from macnn.config import Settings
from macnn.data.samples import ImageSet
from macnn.errors import UsageError
from macnn.evaluation.evaluate import evaluate
from macnn.events import Event, Listener, Metrics, Notice
from macnn.model import Network
from macnn.report.plots import learning_curves
from macnn.report.save import save
from macnn.runs.checkpoint import Checkpoint, Kind
from macnn.runs.folder import RunFolder, check_output, finished_summary
from macnn.runs.networks import continue_network, load_network, new_network
from macnn.runs.saver import Saver
from macnn.runs.session import session, stopped_error
from macnn.runs.setup import open_images, open_loader, place, prepare
from macnn.runs.tensorboard import tensorboard
from macnn.stop import Stopped
from macnn.training.alternation import Alternation


def run(
    settings: Settings,
    init: Checkpoint | None,
    *,
    overwrite: bool,
    listen: Listener,
    resume: Checkpoint | None = None,
) -> dict[str, Any]:
    """Train MA-CNN from found parts, or with `parts` = 0 its baseline; returns the summary.

    Args:
        settings: of the run.
        init: the found parts; not needed to resume.
        overwrite: give up what the run folder holds.
        listen: hears of the progress.
        resume: a checkpoint of this run folder to go on from.

    Raises:
        MacnnError: bad settings, data or checkpoint (nothing has been written then), a loss that
            is not finite, a full disk or device, or a signal (the run has been saved then).
    """
    with session(settings):
        return _run(settings, init, resume, overwrite=overwrite, listen=listen)


def _run(
    settings: Settings,
    init: Checkpoint | None,
    resume: Checkpoint | None,
    *,
    overwrite: bool,
    listen: Listener,
) -> dict[str, Any]:
    if resume is not None and (done := finished_summary(resume.run)) is not None:
        return done
    output = resume.run if resume else check_output(settings.run.output, overwrite)
    if settings.model.parts and init is None and resume is None:
        raise UsageError(
            "no parts to train from",
            hint="pass --init RUN of 'macnn pretrain-parts', or --parts 0 for the baseline",
        )
    device = prepare(settings)
    images = open_images(settings, listen)
    network = place(_network(settings, init, resume, images), settings, device)
    kind: Kind = "macnn" if network.spec.parts else "baseline"
    training, validation = images.split("train"), images.split("validation")
    loader = open_loader(settings, training, augment=settings.data.augment, shuffle=True, stream=2)
    still = open_loader(settings, training)
    validator = open_loader(settings, validation) if validation.samples else None

    with (
        tensorboard(settings, output, listen) as listen,
        RunFolder(
            output, settings, images.class_names, overwrite=overwrite, resume=resume
        ) as folder,
    ):
        saver = Saver(folder, settings, images.class_names, resume)

        def heard(event: Event) -> None:
            folder.record(event)
            listen(event)

        def write() -> Path:
            tensors, facts = alternation.state()
            with alternation.averaged():
                return saver.save(kind, alternation.position.step, network, tensors, facts)

        def after_step() -> None:
            if saver.due(alternation.position.step):
                write()

        def validate() -> None:
            write()
            if validator is None:
                return
            with alternation.averaged():
                result = evaluate(
                    network,
                    validator,
                    None,
                    split="validation",
                    margin=settings.train.margin,
                    listen=heard,
                )
            heard(Metrics("validation", alternation.position.step, result.values()))
            assert result.classification is not None
            saver.praise(result.classification.joint.top1)

        alternation = Alternation(
            network,
            loader,
            still,
            settings.train,
            heard,
            scratch=folder.scratch,
            mirrors=settings.data.augment != "none",
            after_step=after_step,
            validate=validate,
        )
        if resume is not None:
            alternation.load(resume.tensors("trainer"), resume.progress)
        listen(Notice("info", _announcement(settings, alternation)))
        try:
            alternation.run()
            path = write()
        except Stopped as stopped:
            raise stopped_error(stopped, write()) from None
        validated = [row for row in folder.metrics() if row["phase"] == "validation"]
        summary = {
            **alternation.summary(),
            "validation_accuracy": validated[-1]["accuracy"] if validated else None,
            "best_validation_accuracy": saver.best,
            "checkpoint": str(path),
        }
        if folder.writes:
            save(learning_curves(folder.metrics()), folder.report / "curves.png")
        folder.finish(summary)
    return summary


def _network(
    settings: Settings, init: Checkpoint | None, resume: Checkpoint | None, images: ImageSet
) -> Network:
    if resume is not None:
        return load_network(resume)
    classes = len(images.class_names)
    return continue_network(init, settings, classes) if init else new_network(settings, classes)


def _announcement(settings: Settings, alternation: Alternation) -> str:
    train, each = settings.train, -(-settings.data.batch_size // world.size())
    rates = ", ".join(f"{group['base']:g}" for group in alternation.optimiser.param_groups)
    return (
        f"{settings.data.batch_size} images per step: {world.size()} process(es) of {each}, "
        f"in {train.accumulate} piece(s); rates {rates}; {settings.run.precision}"
    )
