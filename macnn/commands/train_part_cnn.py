"""The stage behind `macnn train-part-cnn`: a trained MA-CNN in, run folder of a part CNN out."""

from typing import Any

from macnn.commands.recorded import Hooks, run_recorded
from macnn.config import Settings
from macnn.errors import UsageError
from macnn.events import Listener
from macnn.runs.checkpoint import Checkpoint
from macnn.runs.folder import check_output
from macnn.runs.networks import load_part_cnn, new_part_cnn
from macnn.runs.resume import warn_if_others_may_write
from macnn.runs.session import session
from macnn.runs.setup import check_classes, open_images, open_loader, prepare, to_device
from macnn.runs.summaries import TrainingSummary, finished_summary
from macnn.training.streams import StreamTraining


def run(
    settings: Settings,
    init: Checkpoint | None,
    *,
    overwrite: bool,
    listen: Listener,
    resume: Checkpoint | None = None,
) -> dict[str, Any]:
    """Train the streams of a part CNN around a trained MA-CNN; returns the summary.

    Args:
        settings: of the run.
        init: the trained MA-CNN; not needed to resume.
        overwrite: replace the run that the folder holds.
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
    if resume is not None and (done := finished_summary(resume.run, TrainingSummary)):
        return done
    output = resume.run if resume else check_output(settings.run.output, overwrite)
    if init is not None:
        init.say_where_from(listen)
    if resume is not None:
        warn_if_others_may_write(output, listen)
    source = resume or init
    if source is None:
        raise UsageError("no parts to crop", hint="pass --init RUN of 'macnn train'")
    device = prepare(settings)
    images = open_images(settings, listen)
    check_classes(images, source.class_names)
    made = load_part_cnn(source) if resume else new_part_cnn(source, settings)
    network = to_device(made, settings, device)
    training = images.split("train")

    def build(hooks: Hooks) -> StreamTraining:
        return StreamTraining(
            network,
            open_loader(settings, training, augment=settings.data.augment, shuffle=True, stream=3),
            settings.train,
            hooks.listen,
            epochs=settings.part_cnn.epochs,
            after_step=hooks.after_step,
            validate=hooks.validate,
        )

    return run_recorded(
        build,
        network,
        "part-cnn",
        images,
        settings,
        output,
        overwrite=overwrite,
        resume=resume,
        listen=listen,
    )
