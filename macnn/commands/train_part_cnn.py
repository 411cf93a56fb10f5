"""What stands behind `train-part-cnn`: a trained MA-CNN in, run folder of a part CNN out."""

from typing import Any

from macnn.commands.training_loop import open_output, train_in_run
from macnn.config import Settings
from macnn.errors import UsageError
from macnn.events import Listener
from macnn.model import PartCNN
from macnn.runs.checkpoint import Checkpoint
from macnn.runs.models import load, new_part_cnn
from macnn.runs.session import session
from macnn.runs.setup import (
    check_classes,
    completed,
    open_images,
    open_loader,
    prepare,
    to_device,
    with_batch_norm,
)
from macnn.runs.summaries import TrainingSummary, finished_summary
from macnn.training.epochs import StreamTraining


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
    settings = completed(settings)
    with session(settings):
        settings = with_batch_norm(settings)
        if resume is not None and (done := finished_summary(resume.run, TrainingSummary)):
            return done
        output = open_output(settings, init, resume, overwrite=overwrite, listen=listen)
        source = resume or init
        if source is None:
            raise UsageError("no parts to crop", hint="name a trained run with `init`")
        device = prepare(settings)
        images = open_images(settings, listen)
        check_classes(images, source.class_names)
        if resume is not None:
            spec, model = resume.network, load(resume, PartCNN)
        else:
            spec, model = new_part_cnn(source, settings)
        samples = images.split("train")
        trainer = StreamTraining(
            to_device(model, settings, device),
            open_loader(settings, samples, augment=settings.data.augment, shuffle=True, stream=3),
            settings.train,
            listen,
            rounds=settings.part_cnn.epochs,
            epochs=1,
        )
        return train_in_run(
            trainer,
            "part-cnn",
            spec,
            images,
            settings,
            output,
            overwrite=overwrite,
            resume=resume,
            listen=listen,
        )
