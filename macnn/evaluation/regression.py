"""Keypoints by linear regression from points in the image, and how good that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from macnn.ranges import Figure, Name

FAVOURITE = "throat"  # of the birds' landmarks the one nearest to all others


class Points(NamedTuple):
    """Points and keypoints of the n images of one split, in the unit that errors shall have.

    points: (n, P, 2) float64; there: (n, P) bool, whether a point is known. targets: (n, K, 2)
    float64 keypoints, anything where not visible; visible: (n, K) bool. middle: (n, 2) float64,
    that of the bounding box.
    """

    points: Tensor
    there: Tensor
    targets: Tensor
    visible: Tensor
    middle: Tensor


@dataclass(frozen=True)
class References:
    """Keypoint errors without any parts, on the same keypoints; None where none is visible.

    Attributes:
        box_centre: Of the centre of the bounding box.
        mean_landmark: Of the mean of each keypoint over the training images.
        one_landmark: Of the regression from a single point that is always right: `landmark`, as
            annotated; its mean where it is hidden. Its own error is 0, and counts.
        landmark: The throat, or else the keypoint visible in most training images.
    """

    box_centre: Figure | None
    mean_landmark: Figure | None
    one_landmark: Figure | None
    landmark: Name | None


def regression_errors(train: Points, test: Points) -> Tensor:
    """Distance of each test keypoint (n, K) from its linear prediction from all points.

    One least-squares map per keypoint, of minimum norm where points coincide, from points
    standardised over the training images that show it; a point that is not there is at its mean.
    NaN where a keypoint is not visible, or never was in training.
    """
    errors = test.targets.new_full(test.visible.shape, torch.nan)
    for keypoint, rows in enumerate(train.visible.T):
        if rows.any():
            seen, targets = train.points[rows].flatten(1), train.targets[rows, keypoint]
            middle, spread = seen.mean(0), seen.std(0, correction=0)
            spread = torch.where(spread > 0, spread, 1)
            known, unknown = (
                ((split.points.flatten(1) - middle) / spread)
                * split.there.repeat_interleave(2, dim=1)
                for split in (train, test)
            )
            fit = torch.linalg.lstsq(known[rows], targets - targets.mean(0), driver="gelsd")
            found = unknown @ fit.solution + targets.mean(0)
            errors[:, keypoint] = (found - test.targets[:, keypoint]).norm(dim=-1)
    return errors.masked_fill(~test.visible, torch.nan)


def measure_references(
    train: Points, test: Points, keypoint_names: Sequence[str]
) -> References | None:
    """What can be had without parts; None if no keypoint is visible in the training images."""
    visible = train.visible.sum(0)
    if not visible.any():
        return None
    names = list(keypoint_names)
    chosen = names.index(FAVOURITE) if FAVOURITE in names else -1
    if chosen < 0 or not visible[chosen]:
        chosen = int(visible.argmax())
    mean = train.targets[train.visible[:, chosen], chosen].mean(0)

    def one(split: Points, *, known: bool) -> Points:
        there = split.visible[:, chosen, None]
        points = torch.where(there, split.targets[:, chosen], mean)
        return split._replace(points=points[:, None], there=there & known)

    by_mean, by_one = (
        regression_errors(one(train, known=known), one(test, known=known))
        for known in (False, True)
    )
    from_middle = (test.targets - test.middle[:, None]).norm(dim=-1)
    return References(
        box_centre=mean_error(from_middle.masked_fill(by_mean.isnan(), torch.nan)),
        mean_landmark=mean_error(by_mean),
        one_landmark=mean_error(by_one),
        landmark=names[chosen],
    )


def mean_error(errors: Tensor) -> float | None:
    """Mean of the errors that are no NaN, None if there is none."""
    known = errors[~errors.isnan()]
    return known.mean().item() if len(known) else None
