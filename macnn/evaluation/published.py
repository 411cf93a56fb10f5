"""Where the parts land, under the protocol of PDiscoNet (ICCV 2023) and PDiscoFormer (ECCV 2024).

It differs from `macnn.evaluation.localisation` in this: a part is at the centroid of its whole map,
not about its peak; a part may be absent, and then counts as at its mean; distances are taken after
dividing by the width and the height of the bounding box separately; the background is one more
owner of keypoints.

Presence and owners come from the share of each cell that a part wins from the others and from the
background (`PartModel.shares`), as theirs come from a softmax over both. Parts that do not compete
(`model.competition` of 0) are present everywhere, and the largest map owns a keypoint.

One thing is not theirs: the images. They show whole photographs, the shorter side scaled, whatever
their shape; here the network sees the squares that the run's own settings make. Under
`data.resize_mode` of crop, keypoints beyond the square are predicted all the same, and owned by
whoever owns the border next to them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from macnn import distributed
from macnn.data.loaders import Batch, frame, unframe
from macnn.evaluation.agreement import agreement
from macnn.evaluation.localisation import Landmarks, keypoint_owners
from macnn.evaluation.regression import (
    References,
    mean_error,
    measure_references,
    regression_errors,
)
from macnn.model import PartCNN, PartModel
from macnn.ranges import Count, Figure, Many, Share

Protocol = Literal["ours", "published"]

PRESENT = 0.5
"""Share of a cell above which a part is present in the image, as published."""


class Sight(NamedTuple):
    """Where the parts of n images are, in the order of `samples`, all images of all processes.

    samples: (n,) indices into the image set. centres: (n, N, 2) `(x, y)` in pixels of the stored
    images. present: (n, N) bool. owners: (n, K) part that owns each keypoint, N for the background.
    """

    samples: Tensor
    centres: Tensor
    present: Tensor
    owners: Tensor


@dataclass(frozen=True)
class Published:
    """What `measure_published` found on the test split; None where no visible keypoint decides.

    Attributes:
        images: Number of test images.
        present: Share of the images in which each part is present.
        regression_error: Distance between keypoints and their linear prediction from the parts,
            mean over visible keypoints, x and y as fractions of the box's width and height.
        references: What can be had without parts.
        nmi: Normalised mutual information (arithmetic mean) between the owner of a visible keypoint
            and the keypoint's identity.
        ari: Adjusted Rand index between the same two.
        background: Share of the visible keypoints that the background owns.

    Raises:
        ValueError: There are no parts.
    """

    images: Count
    present: Many[Share]
    regression_error: Figure | None
    references: References | None
    nmi: Figure | None
    ari: Figure | None
    background: Share | None

    def __post_init__(self) -> None:
        if not self.present:
            raise ValueError("present: of no part")


@torch.no_grad()
def look(model: PartModel | PartCNN, batches: Iterable[Batch], keypoints: Tensor) -> Sight:
    """Find parts as the protocol has it; costs two passes over the images if parts compete.

    Args:
        model: the model; it is left in evaluation mode.
        batches: the images of this process, each once, not augmented.
        keypoints: (images, K, 2), see `keypoint_tensors`.
    """
    model.eval()
    device = next(model.parameters()).device
    found: list[tuple[Tensor, ...]] = []
    for batch in batches:
        images = batch.to(device).images
        maps = model(images).attention.float().cpu()
        shares = model.shares(images)
        shares = maps if shares is None else shares.cpu()
        points = frame(keypoints[batch.samples], batch.frames)
        parts = maps.shape[1]
        competing = shares.shape[1] > parts
        present = shares[:, :parts].amax((2, 3)) > (PRESENT if competing else 0)
        found.append(
            (
                batch.samples,
                unframe(model.grid.to_pixels(centroids(maps)), batch.frames),
                present.to(torch.uint8),
                keypoint_owners(shares, model.grid.to_fractions(points)),
            )
        )
    samples, centres, present, owners = (
        torch.cat(distributed.all_gather(torch.cat(each))) for each in zip(*found, strict=True)
    )
    order = samples.argsort()
    return Sight(samples[order], centres[order], present[order].bool(), owners[order])


def centroids(maps: Tensor) -> Tensor:
    """Centre of mass of each map (n, N, H, W) that sums to 1: (n, N, 2) in fractions of the map."""
    height, width = maps.shape[-2:]
    x = maps.sum(2) @ ((torch.arange(width) + 0.5) / width)
    y = maps.sum(3) @ ((torch.arange(height) + 0.5) / height)
    return torch.stack((x, y), dim=-1)


def measure_published(
    train: Landmarks, test: Landmarks, keypoint_names: Sequence[str]
) -> Published:
    """Measure where the parts land on the test split; the regression is fitted on `train`.

    Args:
        train: Parts, from `look`, and annotation of the training split.
        test: The same for the test split.
        keypoint_names: K names; left and right are two keypoints.
    """
    fitted, measured = (split.points(split.boxes[:, 2:]) for split in (train, test))
    owners, identities = test.owners[test.visible], test.visible.nonzero()[:, 1]
    nmi, ari = agreement(owners, identities) if len(owners) else (None, None)
    background = (owners == test.centres.shape[1]).double()
    return Published(
        images=len(test.boxes),
        present=tuple(measured.there.double().mean(0).tolist()),
        regression_error=mean_error(regression_errors(fitted, measured)),
        references=measure_references(fitted, measured, keypoint_names),
        nmi=nmi,
        ari=ari,
        background=background.mean().item() if len(background) else None,
    )
