"""Running a network over images: what it predicts, where its parts look, how good both are."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from macnn import distributed
from macnn.data.loaders import Loader, frame, unframe
from macnn.data.samples import ImageSet
from macnn.errors import DataError, NonFiniteError
from macnn.evaluation.attention_metrics import AttentionFigures, AttentionMetrics
from macnn.evaluation.localisation import (
    Landmarks,
    Localisation,
    keypoint_owners,
    localise,
)
from macnn.evaluation.metrics import Classification, classification_report
from macnn.evaluation.predictions import Predictions
from macnn.events import Listener, track
from macnn.model import Model
from macnn.model.alignment import part_centres
from macnn.text import shown


@dataclass(frozen=True)
class Evaluation:
    """Figures of one split. A part that does not apply is None."""

    split: str
    images: int
    classification: Classification | None
    localisation: Localisation | None
    attention_metrics: AttentionFigures | None
    predictions: Predictions

    def values(self) -> dict[str, float]:
        """The figures to log, by name."""
        parts = (self.classification, self.localisation, self.attention_metrics)
        return {k: v for part in parts if part is not None for k, v in part.values().items()}

    def as_json(self) -> dict[str, Any]:
        """All figures, as JSON-able values."""
        figures = {
            "classification": self.classification,
            "localisation": self.localisation,
            "attention_metrics": self.attention_metrics,
        }
        return {
            "split": self.split,
            "images": self.images,
            **{name: figure and asdict(figure) for name, figure in figures.items()},
        }


@torch.no_grad()
def predict(
    network: Model, loader: Loader, *, margin: float, task: str, listen: Listener
) -> Predictions:
    """Run a network over a loader, each image once; `margin` is that of Div.

    Several processes share the images, and all of them get all predictions.
    """
    network.eval()
    device = next(network.parameters()).device
    images = loader.dataset.images
    keypoints = keypoint_tensors(images)[0]
    attention_metrics = AttentionMetrics(margin)
    samples, labels, logits, joint, attention, centres, owners = ([] for _ in range(7))
    for batch in track(loader.epoch(), task, len(loader), listen):
        output = network(batch.to(device).images)
        samples.append(batch.samples)
        labels.append(batch.labels)
        if output.logits is not None:
            assert output.joint is not None
            logits.append(output.logits.float().cpu())
            joint.append(output.joint.float().cpu())
        if output.attention is not None:
            attention_metrics.update(output.attention)
            maps = output.attention.float().cpu()
            attention.append(maps.half())
            found = unframe(network.grid.to_pixels(part_centres(maps)), batch.frames)
            if not found.isfinite().all():
                raise NonFiniteError(
                    f"{shown(images.root)}: the network's maps are not finite",
                    hint="use an earlier checkpoint",
                )
            centres.append(found)
            framed = frame(keypoints[batch.samples], batch.frames)
            owners.append(keypoint_owners(maps, network.grid.to_fractions(framed)))
    order = torch.cat(distributed.all_gather(torch.cat(samples))).argsort()

    def gathered(parts: list[Tensor]) -> Tensor:
        return torch.cat(distributed.all_gather(torch.cat(parts)))[order]

    return Predictions(
        samples=gathered(samples),
        labels=gathered(labels),
        logits=gathered(logits) if logits else None,
        joint=gathered(joint) if logits else None,
        attention=gathered(attention) if attention else None,
        centres=gathered(centres) if attention else None,
        owners=gathered(owners) if attention else None,
        grid=network.grid if attention else None,
        attention_metrics=attention_metrics.compute() if attention else None,
    )


def evaluate(
    network: Model,
    test: Loader,
    train: Loader | None,
    *,
    split: str,
    margin: float,
    listen: Listener,
) -> Evaluation:
    """Measure a network on the images of `test`.

    Args:
        network: the network.
        test: the images to measure on, not augmented.
        train: training images, not augmented, that localisation is fitted on; None leaves
            localisation out.
        split: name of the split, for the record.
        margin: that of Div.
        listen: hears of the progress.

    Raises:
        DataError: the split is empty.
    """
    images = test.dataset.images
    if not images.samples:
        raise DataError(f"{images.root}: no image in the {split} split")
    measured = predict(
        network, test, margin=margin, task=f"Evaluating {split} images", listen=listen
    )
    localisation = None
    if measured.centres is not None and train is not None and annotated(images):
        fitted = predict(
            network, train, margin=margin, task="Fitting part localisation", listen=listen
        )
        localisation = localise(
            _landmarks(fitted, train.dataset.images),
            _landmarks(measured, images),
            images.keypoint_names,
        )
    classification = None
    if measured.logits is not None:
        classification = classification_report(
            measured.logits,
            measured.labels,
            images.class_names,
            joint=measured.joint,
            classifiers=network.classifier_names,
        )
    return Evaluation(
        split=split,
        images=len(measured.labels),
        classification=classification,
        localisation=localisation,
        attention_metrics=measured.attention_metrics,
        predictions=measured,
    )


def annotated(images: ImageSet) -> bool:
    """Whether a data set has keypoints and boxes to measure localisation against."""
    return bool(images.keypoint_names) and all(s.box is not None for s in images.samples)


def keypoint_tensors(images: ImageSet) -> tuple[Tensor, Tensor]:
    """Keypoints (n, K, 2) in pixels of the stored images, 0 where not visible; visible (n, K)."""
    count = len(images.keypoint_names)
    points = [[p or (0.0, 0.0) for p in s.keypoints] for s in images.samples]
    visible = [[p is not None for p in s.keypoints] for s in images.samples]
    return (
        torch.tensor(points, dtype=torch.float32).reshape(len(points), count, 2),
        torch.tensor(visible, dtype=torch.bool).reshape(len(visible), count),
    )


def _landmarks(predictions: Predictions, images: ImageSet) -> Landmarks:
    assert predictions.centres is not None
    assert predictions.owners is not None
    keypoints, visible = keypoint_tensors(images)
    boxes = torch.tensor(
        [(s.box.x, s.box.y, s.box.width, s.box.height) for s in images.samples if s.box]
    )
    order = predictions.samples
    return Landmarks(
        centres=predictions.centres,
        keypoints=keypoints[order],
        visible=visible[order],
        boxes=boxes[order],
        owners=predictions.owners,
    )
