"""MA-CNN for loops and loaders of one's own: find parts, train, evaluate, localise.

Batches are what a `DataLoader` gives: tuples of images (B, 3, S, S) and labels (B,), or images
alone where labels are not needed. Under DDP every process passes its own share, of equal length.
"""

from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError
from torch import Tensor
from torch.utils.data import DistributedSampler

from macnn import defaults, distributed
from macnn.config.training import TrainSettings
from macnn.data.loaders import Batch
from macnn.errors import UsageError
from macnn.evaluation.attention_metrics import AttentionFigures
from macnn.evaluation.metrics import Classification, classification_report
from macnn.evaluation.predict import predict
from macnn.events import Listener, Metrics, silent
from macnn.model import MACNN, PartCNN, PartModel, PooledClassifier
from macnn.model.alignment import part_boxes, part_centres
from macnn.model.backbones import both
from macnn.model.modes import evaluating
from macnn.reading import misfit
from macnn.training.alternation import Alternation
from macnn.training.discovery import ChannelStatistics, PartDiscovery, form_parts
from macnn.training.epochs import PooledTraining
from macnn.training.probe import linear_probe as probes
from macnn.training.trainer import PhaseEnd, Trainer

Batches = Iterable[Any]
Classifier = MACNN | PooledClassifier | PartCNN


class Figures(NamedTuple):
    """How good a model is; `attention` is None for the baseline, which has no maps."""

    classification: Classification
    attention: AttentionFigures | None


class Location(NamedTuple):
    """Where the parts of B images are, in pixels of the images.

    centres: (B, N, 2), `(x, y)`. boxes: (B, N, 4), `(left, top, right, bottom)`, squares around the
    centres, which may exceed the image.
    """

    centres: Tensor
    boxes: Tensor


def find_parts(
    model: PartModel,
    batches: Batches,
    *,
    keep: float = defaults.KEEP,
    restarts: int = defaults.RESTARTS,
    fit_steps: int = defaults.FIT_STEPS,
    fit_lr: float = defaults.FIT_LR,
    gain: float = defaults.GAIN,
    seed: int = 0,
    listen: Listener = silent,
) -> PartDiscovery:
    """Find the parts: cluster the channels, fit the grouping layers to the clusters, in place.

    See docs/paper.md, Channel clustering to Channel-grouping layers. The backbone stays as it is.

    Args:
        model: a `MACNN`, or a `PartLocator`.
        batches: training images, not augmented; labels are not used. They are read twice, in any
            order: the second time 256 images.
        keep: share of the channels of each cluster that forms its part; 1 is the paper's.
        restarts: of k-means; the best inertia wins.
        fit_steps: Adam steps that fit the grouping layers.
        fit_lr: their learning rate.
        gain: standard deviation the responses in front of the squashing are scaled to.
        seed: of clustering and fit.
        listen: hears of the progress.

    Raises:
        UsageError: a `ValueError`; no images, or not of the side the model was made for.
        DataError: fewer channels respond than there are parts.
        NonFiniteError: the features are not finite.
    """
    device = next(model.parameters()).device
    with evaluating(model):
        statistics = ChannelStatistics.begin(model)
        for batch in _as_batches(batches, 0):
            with torch.no_grad():
                features = model.backbone(batch.images.to(device))
            shape = tuple(both(features)[0].shape[1:])
            if shape != model.map_shape:
                raise UsageError(
                    f"`batches`: features of shape {shape} from images of "
                    f"{tuple(batch.images.shape[-2:])} px, expected {model.map_shape}",
                    hint=f"the model was made for `image_size` {model.image_size}",
                )
            statistics.update(features, batch.samples, batch.total)
        return form_parts(
            model,
            _as_batches(batches, 0),
            statistics,
            restarts=restarts,
            keep=keep,
            fit_steps=fit_steps,
            fit_lr=fit_lr,
            gain=gain,
            seed=seed,
            listen=listen,
        )


def linear_probe(
    model: MACNN | PooledClassifier, batches: Batches, validation: Batches | None = None
) -> float | None:
    """Fit the classifiers of a model to its features as they are, in place.

    A start for training, and what it should at least reach. Nothing else of the model changes.

    Args:
        model: on its device; MA-CNN with its parts found.
        batches: labelled training images, not augmented, read once.
        validation: labelled images to measure on.

    Returns:
        The share of validation images named rightly; None without them.

    Raises:
        UsageError: a `ValueError`; no images, or labels that do not match the model's classes.
        NonFiniteError: the features are not finite.
    """
    held_out = None if validation is None else _as_batches(validation, model.classes)
    (accuracy,) = probes([model], _as_batches(batches, model.classes), held_out)
    return accuracy


def train(
    model: MACNN | PooledClassifier,
    batches: Batches,
    *,
    seed: int = 0,
    listen: Listener = silent,
    **settings: Any,
) -> list[Metrics]:
    """Train a model in place: MA-CNN by alternation, the baseline over the same epochs.

    See docs/paper.md, Alternating optimisation. For a loop of your own, see docs/python.md.

    Args:
        model: on its device; MA-CNN with its parts found.
        batches: labelled training images, with a length; read once per epoch.
        seed: of random layers; PyTorch's global generator is seeded with it at every step.
        listen: hears of progress, and of parts that collapse.
        settings: those of the section `train`, such as `rounds`, `epochs`, `lr`, `grouping_lr`,
            `ema`. Anchors are not offered: they need to know where augmentation moved a part.

    Returns:
        The metrics of every phase, in order.

    Raises:
        UsageError: a `ValueError`; an unknown setting or one out of range, no images, or labels
            that do not match the model's classes.
        NonFiniteError: a loss or gradient was not finite; the model is as before that step.
    """
    source, chosen = _Source(batches, model.classes, seed), _train_settings(settings)
    trainer: Trainer
    if isinstance(model, PooledClassifier):
        rounds, epochs = chosen.rounds_of(len(source)), chosen.epochs
        trainer = PooledTraining(model, source, chosen, listen, rounds=rounds, epochs=epochs)
    else:
        trainer = Alternation(model, source, source, chosen, listen)
    metrics = []
    for reached in trainer.steps():
        if isinstance(reached, PhaseEnd):
            metrics.append(reached.metrics)
            listen(reached.metrics)
    if trainer.average is not None:
        model.load_state_dict(trainer.averaged_model.state_dict())
    return metrics


def evaluate(
    model: Classifier,
    batches: Batches,
    *,
    class_names: tuple[str, ...] | None = None,
    margin: float = defaults.MARGIN,
) -> Figures:
    """Measure a model on labelled images.

    Args:
        model: on its device; its mode stays as it is.
        batches: labelled images, each once.
        class_names: K names; by default the numbers from 0.
        margin: that of Div, for the figures of the maps.

    Raises:
        UsageError: a `ValueError`; no images, or labels that do not match the model's classes.
        NonFiniteError: the model's answers are not finite.
    """
    with evaluating(model):
        found, attention = predict(model, _as_batches(batches, model.classes), margin=margin)
    assert found.scores is not None
    names = class_names or tuple(map(str, range(model.classes)))
    return Figures(
        classification_report(
            found.scores.classifier_logits,
            found.labels,
            names,
            joint=found.scores.logits,
            classifiers=model.classifier_names,
        ),
        attention,
    )


@torch.no_grad()
def localise(model: PartModel | PartCNN, images: Tensor) -> Location:
    """Where the parts are in images (B, 3, S, S), on the model's device.

    Raises:
        UsageError: a `ValueError`; the images are not of the side the model was made for.
    """
    size = (model.image_size, model.image_size)
    if images.dim() != 4 or tuple(images.shape[-2:]) != size:
        raise UsageError(
            f"`images`: shape {tuple(images.shape)}, expected (B, 3, {size[0]}, {size[1]})",
            hint="the model was made for this `image_size`",
        )
    with evaluating(model):
        attention = model(images).attention
    centres = model.grid.to_pixels(part_centres(attention.float()))
    share = model.part_share if isinstance(model, PartCNN) else defaults.PART_SHARE
    return Location(centres, part_boxes(centres, share * model.image_size))


class _Source:
    """A loader of somebody's own, for epochs and for grouping phases."""

    def __init__(self, batches: Batches, classes: int, seed: int) -> None:
        if not isinstance(batches, Sized) or len(batches) == 0:
            raise UsageError(
                "`batches`: no length, or empty; expected a loader of (images, labels)"
            )
        self.source, self.classes, self.seed = batches, classes, seed
        self.waited = 0.0  # not measured: its loader is not ours
        self.unending = self._unending()

    def __len__(self) -> int:
        return len(self.source)

    def epoch(self, number: int, offset: int) -> Iterator[Batch]:
        sampler = getattr(self.source, "sampler", None)
        if isinstance(sampler, DistributedSampler):
            sampler.set_epoch(number)
        return islice(_as_batches(self.source, self.classes), offset, None)

    def batches(self, start: int, count: int) -> Iterator[Batch]:
        """The next batches, whatever has gone before."""
        return islice(self.unending, count)

    def describe(self, samples: Tensor) -> str:
        return f"images {int(samples[0]):,} to {int(samples[-1]):,} of an epoch"

    def _unending(self) -> Iterator[Batch]:
        while True:
            yield from _as_batches(self.source, self.classes)


def _as_batches(batches: Batches, classes: int) -> Iterator[Batch]:
    """Batches of somebody's own as ours; with `classes` they must have labels below it.

    Raises:
        UsageError: they are no such batches, or there are none.
    """
    seen = 0
    for given in batches:
        images, labels = given if isinstance(given, tuple | list) else (given, None)
        if not isinstance(images, Tensor) or images.dim() != 4 or not len(images):
            what = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise UsageError(f"`batches`: images {what}, expected a tensor (B, 3, S, S)")
        count = len(images)
        if not classes:
            labels = torch.zeros(count, dtype=torch.int64)
        elif not isinstance(labels, Tensor) or labels.shape != (count,):
            what = tuple(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__
            raise UsageError(f"`batches`: labels {what}, expected a tensor ({count},)")
        elif labels.min() < 0 or labels.max() >= classes:
            raise UsageError(
                f"`batches`: labels {int(labels.min())} to {int(labels.max())}, expected 0 to "
                f"{classes - 1} for {classes} classes"
            )
        frames = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).expand(count, 2, 2)
        samples = torch.arange(seen, seen + count)
        yield Batch(images, labels.long(), samples, frames, count * distributed.world_size())
        seen += count
    if not seen:
        raise UsageError("`batches`: no images; a generator gives them once, a loader every time")


def _train_settings(given: dict[str, Any]) -> TrainSettings:
    if given.get("anchor_weight"):
        raise UsageError("`anchor_weight`: not offered here, expected 0")
    if "probe" in given:
        raise UsageError("`probe`: not offered here", hint="call `linear_probe` before")
    try:
        return TrainSettings(**given | {"anchor_weight": 0})
    except ValidationError as error:
        raise UsageError(f"settings: {misfit(error)}") from None
