"""Accuracy per part and joint, confusion, calibration.

The joint prediction of MA-CNN is the sum of the logits of its parts; the part CNN has a classifier
for it. Its probabilities are the softmax of its logits. Figures are those of the joint prediction
unless they name a classifier.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from macnn import plotting  # noqa: F401  before torchmetrics, which imports matplotlib

# isort: split
from torchmetrics.functional.classification import (
    multiclass_calibration_error,
    multiclass_confusion_matrix,
)

from macnn.errors import DataError, NonFiniteError
from macnn.ranges import Count, Figure, Many, Name, Share
from macnn_kernels import checks

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Accuracy:
    """Shares of images in [0, 1]; `standard_error` is that of `top1`, sqrt(p (1 - p) / images).

    `top5` is None for five classes or fewer, of which it would tell nothing.
    """

    top1: Share
    top5: Share | None
    standard_error: Share


@dataclass(frozen=True)
class ReliabilityBin:
    """The images whose joint confidence lies in one of `CALIBRATION_BINS` equal intervals.

    `confidence` and `accuracy` are their means, None without images.
    """

    images: Count
    confidence: Share | None
    accuracy: Share | None

    def __post_init__(self) -> None:
        if {self.confidence is None, self.accuracy is None} != {self.images == 0}:
            raise ValueError("confidence, accuracy: of no images, or none of some")


@dataclass(frozen=True)
class Classification:
    """What `classification_report` found.

    Attributes:
        images: Number of images.
        class_names: One name per class.
        joint: Accuracy of the joint prediction.
        parts: Accuracy of each classifier alone, that of a part or a stream.
        classifiers: Their names.
        per_class: Joint top-1 of each class, None for a class without images.
        confusion: Number of images per true class (row) and predicted class (column).
        calibration_error: Expected calibration error of the joint prediction, 15 equal bins: mean
            distance between confidence and accuracy, weighted by the images in a bin.
        reliability: Those bins, by rising confidence.

    Raises:
        ValueError: They do not fit each other.
    """

    images: Count
    class_names: Many[Name]
    joint: Accuracy
    parts: Many[Accuracy]
    classifiers: Many[Name]
    per_class: Many[Share | None]
    confusion: Many[Many[Count]]
    calibration_error: Figure
    reliability: Many[ReliabilityBin]

    def __post_init__(self) -> None:
        classes, counts = len(self.class_names), [sum(row) for row in self.confusion]
        for name, fits in {
            "confusion": classes and {len(self.confusion), *map(len, self.confusion)} == {classes},
            "images": sum(counts) == sum(each.images for each in self.reliability) == self.images,
            "per_class": [share is None for share in self.per_class] == [n == 0 for n in counts],
            "classifiers": self.parts and len(self.classifiers) == len(self.parts),
            "reliability": len(self.reliability) == CALIBRATION_BINS,
            "top5": len({each.top5 is None for each in (self.joint, *self.parts)}) == 1,
        }.items():
            if not fits:
                raise ValueError(f"{name}: does not fit the others")

    def values(self) -> dict[str, float]:
        """The figures to log, by name; `accuracy/part 1` is that of part 1 alone."""
        return {
            "accuracy": self.joint.top1,
            **{
                f"accuracy/{name}": part.top1
                for name, part in zip(self.classifiers, self.parts, strict=True)
            },
            **({} if self.joint.top5 is None else {"top5": self.joint.top5}),
            "calibration_error": self.calibration_error,
        }


def classification_report(
    part_logits: Tensor,
    labels: Tensor,
    class_names: Sequence[str],
    *,
    joint: Tensor | None = None,
    classifiers: Sequence[str] | None = None,
) -> Classification:
    """Measure the classifiers of the parts, and all together, on labelled images.

    Args:
        part_logits: (n, N, K) logits of N part classifiers (N = 1 for a network without parts) over
            K >= 2 classes; any floating-point dtype and device.
        labels: (n,) int64 class of each image, on the same device.
        class_names: K names.
        joint: (n, K) logits of the joint prediction, by default the sum of `part_logits`.
        classifiers: N names, by default "part 1" and on.

    Raises:
        ValueError: The shapes do not fit each other.
        DataError: There is no image.
        NonFiniteError: A logit is NaN or infinite.
    """
    checks.rank("part_logits", part_logits, "n, N, K")
    images, count, classes = part_logits.shape
    joint = part_logits.float().sum(1) if joint is None else joint.float()
    checks.shape("joint", joint, (images, classes), "as part_logits")
    if classifiers is None:
        classifiers = [f"part {i}" for i in range(1, count + 1)]
    checks.shape("labels", labels, (images,), "one per row of part_logits")
    if len(class_names) != classes:
        raise ValueError(f"class_names: {len(class_names)} names for {classes} classes")
    if images == 0:
        raise DataError("no images to evaluate", hint="choose a split that has some")
    part_logits = part_logits.float()
    if not (part_logits.isfinite().all() and joint.isfinite().all()):
        raise NonFiniteError(
            "the network's logits are not finite", hint="evaluate an earlier checkpoint"
        )

    confusion = multiclass_confusion_matrix(_ranking(joint)[:, 0], labels, classes).cpu()
    per_class = confusion.diagonal() / confusion.sum(1)
    calibration = multiclass_calibration_error(
        joint.softmax(-1), labels, classes, n_bins=CALIBRATION_BINS
    )
    return Classification(
        images=images,
        class_names=tuple(class_names),
        joint=_accuracy(joint, labels),
        parts=tuple(_accuracy(logits, labels) for logits in part_logits.unbind(1)),
        classifiers=tuple(classifiers),
        per_class=tuple(None if math.isnan(share) else share for share in per_class.tolist()),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        calibration_error=calibration.item(),
        reliability=_reliability(joint, labels),
    )


def _ranking(logits: Tensor) -> Tensor:
    """Up to five classes with the largest logits (n, K), best first: (n, min(5, K))."""
    return logits.topk(min(5, logits.shape[1])).indices


def _accuracy(logits: Tensor, labels: Tensor) -> Accuracy:
    hits = (_ranking(logits) == labels[:, None]).cpu()
    top1 = hits[:, 0].double().mean().item()
    return Accuracy(
        top1=top1,
        top5=hits.any(1).double().mean().item() if logits.shape[1] > 5 else None,
        standard_error=math.sqrt(top1 * (1 - top1) / len(labels)),
    )


def _reliability(logits: Tensor, labels: Tensor) -> tuple[ReliabilityBin, ...]:
    confidence, predicted = logits.softmax(-1).double().cpu().max(-1)
    hits = (predicted == labels.cpu()).double()
    edges = torch.linspace(0, 1, CALIBRATION_BINS + 1, dtype=torch.float64)
    place = torch.bucketize(confidence, edges[1:-1])
    images = place.bincount(minlength=CALIBRATION_BINS)
    sums = (place.bincount(each, CALIBRATION_BINS) for each in (confidence, hits))
    return tuple(
        ReliabilityBin(count, total / count, right / count)
        if count
        else ReliabilityBin(0, None, None)
        for count, total, right in zip(images.tolist(), *(s.tolist() for s in sums), strict=True)
    )
