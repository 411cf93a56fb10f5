"""What stands behind `train`: settings and found parts in, run folder out."""

from typing import Any

from macnn.commands.training_loop import open_output, train_in_run
from macnn.config import Settings
from macnn.data.samples import ImageSet
from macnn.errors import UsageError
from macnn.events import Listener, Notice, track
from macnn.model import MACNN, PooledClassifier
from macnn.model.specs import Spec
from macnn.runs.checkpoint import Checkpoint
from macnn.runs.models import continue_macnn, continue_pooled, load, new_pooled
from macnn.runs.session import session
from macnn.runs.setup import (
    completed,
    open_images,
    open_loader,
    prepare,
    to_device,
    with_batch_norm,
    with_rounds,
)
from macnn.runs.summaries import AlternationSummary, finished_summary
from macnn.training.alternation import Alternation
from macnn.training.epochs import PooledTraining
from macnn.training.grouping_batches import GroupingBatches
from macnn.training.probe import linear_probe
from macnn.training.trainer import Trainer


def run(
    settings: Settings,
    init: Checkpoint | None,
    *,
    overwrite: bool,
    listen: Listener,
    resume: Checkpoint | None = None,
) -> dict[str, Any]:
    """Train MA-CNN from found parts, or with `model.parts` = 0 its baseline; returns the summary.

    Args:
        settings: of the run.
        init: the found parts; not needed to resume, nor for the baseline.
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
        if resume is not None and (done := finished_summary(resume.run, AlternationSummary)):
            return done
        output = open_output(settings, init, resume, overwrite=overwrite, listen=listen)
        if settings.model.parts and init is None and resume is None:
            raise UsageError(
                "no parts to train from",
                hint="name the run that found them with `init`, or use `model.parts=0` for the "
                "baseline",
            )
        device = prepare(settings)
        images = open_images(settings, listen)
        settings = with_rounds(settings, images)
        spec, model = _model(settings, init, resume, images)
        to_device(model, settings, device)
        probed = _probe(model, images, settings, listen) if resume is None else {}
        trainer = _trainer(model, images, settings, listen)
        return train_in_run(
            trainer,
            "macnn" if settings.model.parts else "baseline",
            spec,
            images,
            settings,
            output,
            overwrite=overwrite,
            resume=resume,
            listen=listen,
            probed=probed,
        )


def _probe(
    model: MACNN | PooledClassifier, images: ImageSet, settings: Settings, listen: Listener
) -> dict[str, float]:
    """Fit the classifiers to what the model sees before it is trained.

    Returns:
        The validation accuracy of that, and of a pooled classifier fitted beside it.
    """
    if not settings.train.probe:
        return {}
    names, models = ["accuracy"], [model]
    if isinstance(model, MACNN):
        names.append("pooled_accuracy")
        models.append(
            PooledClassifier(model.backbone, model.classes, image_size=model.image_size).to(
                next(model.parameters()).device
            )
        )
    training = open_loader(settings, images.split("train"))
    batches = track(training.epoch(), "Fitting classifiers", len(training), listen)
    held_out = images.split("validation")
    validation = open_loader(settings, held_out).epoch() if held_out.samples else None
    found = linear_probe(models, batches, validation)
    reached = {name: value for name, value in zip(names, found, strict=True) if value is not None}
    if reached:
        of_pool = f", of a global average pool {reached[names[1]]:.1%}" if len(reached) > 1 else ""
        text = f"linear probe: {reached[names[0]]:.1%} of the validation images{of_pool}"
        listen(Notice("info", text))
    return reached


def _model(
    settings: Settings, init: Checkpoint | None, resume: Checkpoint | None, images: ImageSet
) -> tuple[Spec, MACNN | PooledClassifier]:
    classes = len(images.class_names)
    if resume is not None:
        if settings.model.parts:
            return resume.network, load(resume, MACNN)
        return resume.network, load(resume, PooledClassifier)
    if init is None:
        return new_pooled(settings, classes)
    if settings.model.parts:
        return continue_macnn(init, settings, classes)
    return continue_pooled(init, settings, classes)


def _trainer(
    model: MACNN | PooledClassifier, images: ImageSet, settings: Settings, listen: Listener
) -> Trainer:
    train, augment = settings.train, settings.data.augment
    samples = images.split("train")
    training = open_loader(settings, samples, augment=augment, shuffle=True, stream=2)
    if isinstance(model, PooledClassifier):
        return PooledTraining(
            model,
            training,
            train,
            listen,
            rounds=train.rounds_of(len(training)),
            epochs=train.epochs,
        )
    unaugmented = open_loader(settings, samples)
    device = next(model.parameters()).device
    grouping = GroupingBatches(unaugmented, augment != "none", device)
    return Alternation(model, training, grouping, train, listen, unaugmented=unaugmented)
