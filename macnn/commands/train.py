"""The stage behind `macnn train`: settings and found parts in, run folder out."""

from typing import Any

from macnn.commands.recorded import Hooks, run_recorded
from macnn.config import Settings
from macnn.data.samples import ImageSet
from macnn.errors import UsageError
from macnn.events import Listener
from macnn.model import Network
from macnn.runs.checkpoint import Checkpoint
from macnn.runs.folder import check_output
from macnn.runs.networks import continue_network, load_network, new_network
from macnn.runs.resume import warn_if_others_may_write
from macnn.runs.session import session
from macnn.runs.setup import open_images, open_loader, prepare, to_device
from macnn.runs.summaries import AlternationSummary, finished_summary
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
    if resume is not None and (done := finished_summary(resume.run, AlternationSummary)):
        return done
    output = resume.run if resume else check_output(settings.run.output, overwrite)
    if init is not None:
        init.say_where_from(listen)
    if resume is not None:
        warn_if_others_may_write(output, listen)
    if settings.model.parts and init is None and resume is None:
        raise UsageError(
            "no parts to train from",
            hint="pass --init RUN of 'macnn pretrain-parts', or --parts 0 for the baseline",
        )
    device = prepare(settings)
    images = open_images(settings, listen)
    network = to_device(_network(settings, init, resume, images), settings, device)
    training = images.split("train")

    def build(hooks: Hooks) -> Alternation:
        return Alternation(
            network,
            open_loader(settings, training, augment=settings.data.augment, shuffle=True, stream=2),
            open_loader(settings, training),
            settings.train,
            hooks.listen,
            scratch=hooks.scratch,
            mirrors=settings.data.augment != "none",
            after_step=hooks.after_step,
            validate=hooks.validate,
        )

    return run_recorded(
        build,
        network,
        "macnn" if network.spec.parts else "baseline",
        images,
        settings,
        output,
        overwrite=overwrite,
        resume=resume,
        listen=listen,
    )


def _network(
    settings: Settings, init: Checkpoint | None, resume: Checkpoint | None, images: ImageSet
) -> Network:
    if resume is not None:
        return load_network(resume)
    classes = len(images.class_names)
    return continue_network(init, settings, classes) if init else new_network(settings, classes)
