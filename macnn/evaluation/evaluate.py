"""How good a model is on the images of a split, and where its parts land."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from macnn.data.loaders import Loader
from macnn.data.samples import ImageSet
from macnn.errors import DataError, UsageError
from macnn.evaluation.attention_metrics import AttentionFigures
from macnn.evaluation.localisation import Landmarks, Localisation, measure_localisation
from macnn.evaluation.metrics import Classification, classification_report
from macnn.evaluation.predict import keypoint_tensors, predict
from macnn.evaluation.predictions import Predictions
from macnn.evaluation.published import Protocol, Published, look, measure_published
from macnn.evaluation.specialisation import Specialisation, measure_specialisation
from macnn.events import Listener, track
from macnn.model import MACNN, Model, PartCNN, PartLocator, PartModel, PooledClassifier


@dataclass(frozen=True)
class Evaluation:
    """Figures of one split. A part that does not apply is None."""

    split: str
    images: int
    classification: Classification | None
    localisation: Localisation | None
    published: Published | None
    attention_metrics: AttentionFigures | None
    specialisation: Specialisation | None
    predictions: Predictions

    def values(self) -> dict[str, float]:
        """The figures to log, by name."""
        parts = (
            self.classification,
            self.localisation,
            self.attention_metrics,
            self.specialisation,
        )
        return {k: v for part in parts if part is not None for k, v in part.values().items()}

    def as_json(self) -> dict[str, Any]:
        """All figures, as JSON-able values."""
        return {
            "split": self.split,
            "images": self.images,
            "classification": self.classification and asdict(self.classification),
            "localisation": self.localisation and asdict(self.localisation),
            "published": self.published and asdict(self.published),
            "attention_metrics": self.attention_metrics and asdict(self.attention_metrics),
            "specialisation": self.specialisation and asdict(self.specialisation),
        }


def evaluate(
    model: Model,
    test: Loader,
    train: Loader | None,
    *,
    split: str,
    margin: float,
    protocol: Protocol = "ours",
    specialisation: bool = False,
    listen: Listener,
) -> Evaluation:
    """Measure a model on the images of `test`.

    Args:
        model: the model.
        test: the images to measure on, not augmented.
        train: training images, not augmented, that localisation is fitted on; None leaves
            localisation out.
        split: name of the split, for the record.
        margin: that of Div.
        protocol: "published" to measure also where parts land as others publish it.
        specialisation: measure also what is lost as parts are covered.
        listen: hears of the progress.

    Raises:
        DataError: the split is empty.
        UsageError: `specialisation` of a model without a classifier per part, or the published
            protocol without parts, or without boxes and keypoints.
    """
    if specialisation and not isinstance(model, MACNN):
        raise UsageError(
            "`specialisation`: this checkpoint has no classifiers that see one part each",
            hint="name one of MA-CNN, or leave it out",
        )
    images = test.dataset.images
    if not images.samples:
        raise DataError(f"{images.root}: no image in the {split} split")
    if protocol == "published" and (isinstance(model, PooledClassifier) or not annotated(images)):
        raise UsageError(
            "`protocol=published`: for models with parts, and images with boxes and keypoints",
            hint="leave it out",
        )
    found, metrics = _predict(model, test, margin, f"Evaluating {split} images", listen)
    localisation = None
    if found.places is not None and train is not None and annotated(images):
        fitted, _ = _predict(model, train, margin, "Fitting part localisation", listen)
        localisation = measure_localisation(
            landmarks(fitted, train.dataset.images),
            landmarks(found, images),
            images.keypoint_names,
        )
    published = None
    if protocol == "published" and train is not None and not isinstance(model, PooledClassifier):
        published = measure_published(
            _look(model, train, listen), _look(model, test, listen), images.keypoint_names
        )
    classification = None
    if found.scores is not None and not isinstance(model, PartLocator):
        classification = classification_report(
            found.scores.classifier_logits,
            found.labels,
            images.class_names,
            joint=found.scores.logits,
            classifiers=model.classifier_names,
        )
    specialised = None
    if specialisation and isinstance(model, MACNN):
        batches = track(test.epoch(), "Covering parts", len(test), listen)
        specialised = measure_specialisation(model, batches)
    return Evaluation(
        split=split,
        images=len(found.labels),
        classification=classification,
        localisation=localisation,
        published=published,
        attention_metrics=metrics,
        specialisation=specialised,
        predictions=found,
    )


def _predict(
    model: Model, loader: Loader, margin: float, task: str, listen: Listener
) -> tuple[Predictions, AttentionFigures | None]:
    batches = track(loader.epoch(), task, len(loader), listen)
    keypoints = keypoint_tensors(loader.dataset.images)[0]
    return predict(model, batches, margin=margin, keypoints=keypoints)


def annotated(images: ImageSet) -> bool:
    """Whether a data set has keypoints and boxes to measure localisation against."""
    return bool(images.keypoint_names) and all(s.box is not None for s in images.samples)


def landmarks(found: Predictions, images: ImageSet) -> Landmarks:
    """Where the parts are of images that have keypoints and boxes, beside those."""
    assert found.places is not None
    return _landmarks(
        images, found.samples, centres=found.places.centres, owners=found.places.owners
    )


def _look(model: PartModel | PartCNN, loader: Loader, listen: Listener) -> Landmarks:
    images = loader.dataset.images
    batches = track(loader.epoch(), "Finding parts as published", len(loader), listen)
    seen = look(model, batches, keypoint_tensors(images)[0])
    return _landmarks(
        images, seen.samples, centres=seen.centres, owners=seen.owners, present=seen.present
    )


def _landmarks(
    images: ImageSet,
    samples: Tensor,
    *,
    centres: Tensor,
    owners: Tensor,
    present: Tensor | None = None,
) -> Landmarks:
    """Parts in the images `samples` (n,), beside what is annotated there."""
    keypoints, visible = keypoint_tensors(images)
    boxes = torch.tensor(
        [(s.box.x, s.box.y, s.box.width, s.box.height) for s in images.samples if s.box]
    )
    return Landmarks(
        centres=centres,
        keypoints=keypoints[samples],
        visible=visible[samples],
        boxes=boxes[samples],
        owners=owners,
        present=present,
    )
