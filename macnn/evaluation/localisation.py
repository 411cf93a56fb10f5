"""Where the parts land, in the figures of unsupervised part discovery.

Choudhury et al. (NeurIPS 2021), PDiscoNet (ICCV 2023) and PDiscoFormer (ECCV 2024) report keypoint
regression error, NMI and ARI. We add PCK: the share of images in which a part's centre lies within
a fraction of the bounding box of a keypoint. Whatever has to be chosen or fitted (which keypoint
belongs to a part, the regression) is chosen and fitted on the training split, and measured on the
test split.

The left and right of a pair are one landmark, found when either visible one is: a part detector
cannot tell them apart in a mirrored image, and two parts on one eye must not count as two landmarks
found. Regression, NMI and ARI use the annotated keypoints as they are, as the field does; the rest
of the field's protocol is in `macnn.evaluation.published`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Annotated, NamedTuple

import torch
from pydantic import SkipValidation
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from macnn.bounds import SCALE
from macnn.errors import DataError
from macnn.evaluation.agreement import agreement
from macnn.evaluation.regression import (
    Points,
    References,
    mean_error,
    measure_references,
    regression_errors,
)
from macnn.ranges import Count, Figure, Many, Name, Share
from macnn_kernels import checks

HEAD, TORSO, LEGS = "head", "torso and wings", "legs and tail"

REGIONS = MappingProxyType(
    {
        **dict.fromkeys(("beak", "crown", "eye", "forehead", "head", "nape", "throat"), HEAD),
        **dict.fromkeys(("back", "belly", "breast", "wing"), TORSO),
        **dict.fromkeys(("leg", "tail"), LEGS),
    }
)
"""Body region of the landmarks of CUB-200-2011 and of the synthetic birds."""

RADII = (0.1, 0.15)
"""Radii of PCK, as fractions of the box size."""


@dataclass(frozen=True)
class Landmarks:
    """Predicted part centres beside the annotation, for the n images of one split.

    All coordinates are `(x, y)` in one frame per image, with the same unit along both axes (pixels
    of the stored image, or of a network input that kept its proportions). Any device.

    Attributes:
        centres: (n, N, 2) predicted centre of each part.
        keypoints: (n, K, 2) annotated keypoints; anything, even NaN, where not visible.
        visible: (n, K) bool.
        boxes: (n, 4) bounding box: x and y of the top left corner, width, height.
        owners: (n, K) int64 part that owns each keypoint (`keypoint_owners`), anything where not
            visible.
        present: (n, N) bool, whether each part is in the image; None for all of them.

    Raises:
        ValueError: The shapes do not fit each other.
        DataError: There is no image, or a box is empty.
    """

    centres: Tensor
    keypoints: Tensor
    visible: Tensor
    boxes: Tensor
    owners: Tensor
    present: Tensor | None = None

    def __post_init__(self) -> None:
        checks.rank("centres", self.centres, "n, N, 2")
        checks.rank("keypoints", self.keypoints, "n, K, 2")
        images, count, _ = self.keypoints.shape
        checks.shape("centres", self.centres, (images, self.centres.shape[1], 2), "as keypoints")
        checks.shape("visible", self.visible, (images, count), "as keypoints")
        checks.shape("boxes", self.boxes, (images, 4), "one per image")
        checks.shape("owners", self.owners, (images, count), "as keypoints")
        if images == 0:
            raise DataError("no annotated images to localise parts in", hint="choose another split")
        if empty := int((self.box_size <= 0).sum()):
            raise DataError(f"{empty} bounding boxes are empty", hint="correct bounding_boxes.txt")

    @property
    def box_size(self) -> Tensor:
        """(n,) longer side of each box: the unit of every distance reported."""
        return self.boxes[:, 2:].amax(1)

    def points(self, unit: Tensor) -> Points:
        """Parts and keypoints from the corner of the box, in a unit (n, 1 or 2), as float64."""
        boxes, unit = (each.cpu().double() for each in (self.boxes, unit))
        centres, targets = (
            (each.cpu().double() - boxes[:, None, :2]) / unit[:, None]
            for each in (self.centres, self.keypoints)
        )
        everywhere = torch.ones(centres.shape[:2], dtype=torch.bool)
        return Points(
            points=centres,
            there=everywhere if self.present is None else self.present.cpu(),
            targets=targets,
            visible=self.visible.cpu(),
            middle=boxes[:, 2:] / 2 / unit,
        )


@dataclass(frozen=True)
class Match:
    """A part and a landmark, matched on the training split and measured on the test split.

    Attributes:
        part: Number of the part, from 1.
        landmark: Name, without "left" or "right".
        region: Body region, None for a landmark `REGIONS` does not know.
        images: Test images in which the landmark (either one of a pair) is visible.
        pck10: Share of those images with the part's centre within 0.1 of the box size of the
            landmark (of either visible one of a pair); None if there are none.
        pck15: The same within 0.15.
        share15: The same within 0.15, as a share of all test images.
    """

    part: Count
    landmark: Name
    region: Name | None
    images: Count
    pck10: Share | None
    pck15: Share | None
    share15: Share


@dataclass(frozen=True)
class Localisation:
    """What `measure_localisation` found on the test split; None where no visible keypoint decides.

    Attributes:
        images: Number of test images.
        one_to_one: Parts and landmarks matched one-to-one, by largest total PCK; the parts beyond
            the number of landmarks are left out.
        pck10: Mean over `one_to_one` of PCK at 0.1.
        pck15: Mean over `one_to_one` of PCK at 0.15.
        best: For every part the landmark it finds most often, at 0.15; several may share one.
        regions: Body regions of `best`, each once.
        landmarks: For every landmark the part that finds it most often, at 0.15.
        regression_error: Distance between keypoints and their linear prediction from all part
            centres, mean over visible keypoints, as a fraction of the box size.
        regression_errors: The same for each landmark.
        nmi: Normalised mutual information (arithmetic mean) between the part that owns a visible
            keypoint and the keypoint's identity.
        ari: Adjusted Rand index between the same two.
        references: What `regression_error` would be without parts; None in older files.

    Raises:
        ValueError: They do not fit each other.
    """

    images: Count
    one_to_one: Many[Match]
    pck10: Share | None
    pck15: Share | None
    best: Many[Match]
    regions: Many[Name]
    landmarks: Many[Match]
    regression_error: Figure | None
    regression_errors: dict[Name, Annotated[float | None, SkipValidation]]
    nmi: Figure | None
    ari: Figure | None
    references: References | None = None

    def __post_init__(self) -> None:
        parts = range(1, len(self.best) + 1)
        if [match.part for match in self.best] != list(parts):
            raise ValueError("best: not one of every part")
        if not {match.part for match in (*self.one_to_one, *self.landmarks)} <= set(parts):
            raise ValueError("one_to_one, landmarks: of parts that are not there")
        if {match.landmark for match in self.landmarks} != set(self.regression_errors) or not all(
            error is None or (isinstance(error, float) and 0 <= error <= SCALE)
            for error in self.regression_errors.values()
        ):
            raise ValueError("regression_errors: not distances of the landmarks")

    def values(self) -> dict[str, float]:
        """The figures to log, by name, without those that nothing decides."""
        figures = {
            "pck10": self.pck10,
            "pck15": self.pck15,
            **{f"best_pck15/part {match.part}": match.pck15 for match in self.best},
            "regression_error": self.regression_error,
            "nmi": self.nmi,
            "ari": self.ari,
        }
        return {name: figure for name, figure in figures.items() if figure is not None}


def measure_localisation(
    train: Landmarks, test: Landmarks, keypoint_names: Sequence[str]
) -> Localisation:
    """Measure where the parts land on the test split, with all choices made on the training split.

    Args:
        train: Parts and annotation of the training split, without augmentation.
        test: The same for the test split; N and K as in `train`.
        keypoint_names: K names; "left X" and "right X" are a pair.

    Raises:
        ValueError: The splits or names do not fit each other.
    """
    parts, count = train.centres.shape[1], len(keypoint_names)
    for name, split in (("train", train), ("test", test)):
        checks.shape(f"{name}.centres", split.centres, (len(split.boxes), parts, 2), "as train")
        checks.shape(f"{name}.visible", split.visible, (len(split.boxes), count), "one per name")
    train, test = _in_double(train), _in_double(test)

    names = _landmarks(keypoint_names)
    fitted, measured = _count_hits(train, names.values()), _count_hits(test, names.values())

    def match(part: int, landmark: int) -> Match:
        name = list(names)[landmark]
        return Match(
            part=part + 1,
            landmark=name,
            region=REGIONS.get(name),
            images=int(measured.images[landmark]),
            pck10=_ratio(measured.hits[0, part, landmark], measured.images[landmark]),
            pck15=_ratio(measured.hits[1, part, landmark], measured.images[landmark]),
            share15=float(measured.hits[1, part, landmark]) / len(test.boxes),
        )

    pairs = zip(*linear_sum_assignment(fitted.pck.sum(0).numpy(), maximize=True), strict=True)
    one_to_one = tuple(match(int(part), int(landmark)) for part, landmark in pairs)
    best = tuple(match(part, int(i)) for part, i in enumerate(fitted.pck[1].argmax(1)))
    found_by = tuple(match(int(part), i) for i, part in enumerate(fitted.pck[1].argmax(0)))
    points, unseen = (split.points(split.box_size[:, None]) for split in (train, test))
    errors = regression_errors(points, unseen)
    owners, identities = test.owners[test.visible], test.visible.nonzero()[:, 1]
    nmi, ari = agreement(owners, identities) if len(owners) else (None, None)
    return Localisation(
        images=len(test.boxes),
        one_to_one=one_to_one,
        pck10=_mean(m.pck10 for m in one_to_one),
        pck15=_mean(m.pck15 for m in one_to_one),
        best=best,
        regions=tuple(sorted({m.region for m in best if m.region is not None})),
        landmarks=found_by,
        regression_error=mean_error(errors),
        regression_errors={name: mean_error(errors[:, i]) for name, i in names.items()},
        nmi=nmi,
        ari=ari,
        references=measure_references(points, unseen, keypoint_names),
    )


def keypoint_owners(attention: Tensor, keypoints: Tensor) -> Tensor:
    """Number, from 0, of the part whose attention is largest at each keypoint: (n, K) int64.

    Args:
        attention: (n, N, H, W) maps, each summing to 1; read between cell centres bilinearly.
        keypoints: (n, K, 2) `(x, y)` in fractions of the map; outside it the border counts.
    """
    checks.rank("attention", attention, "n, N, H, W")
    checks.shape("keypoints", keypoints, (len(attention), keypoints.shape[1], 2), "n, K, 2")
    grid = 2 * keypoints.to(torch.float32)[:, :, None] - 1
    sampled = torch.nn.functional.grid_sample(
        attention.to(torch.float32), grid, padding_mode="border", align_corners=False
    )
    return sampled[..., 0].argmax(1)


class _Hits(NamedTuple):
    """How often every part finds every landmark of a split.

    Attributes:
        images: (L,) images in which the landmark is visible.
        hits: (radii, N, L) images in which the part's centre is that close to it.
    """

    images: Tensor
    hits: Tensor

    @property
    def pck(self) -> Tensor:
        """(radii, N, L) hits over images, 0 for a landmark that is never visible."""
        return self.hits / self.images.clamp(min=1)


def _count_hits(split: Landmarks, members: Iterable[list[int]]) -> _Hits:
    """Count for every landmark, a list of keypoints of which any one will do."""
    offsets = split.centres[:, :, None] - split.keypoints[:, None]  # (n, N, K, 2)
    distance = offsets.norm(dim=-1) / split.box_size[:, None, None]
    close = torch.stack([(distance <= radius) & split.visible[:, None] for radius in RADII])
    visible, found = [], []
    for keypoints in members:
        visible.append(split.visible[:, keypoints].any(1).sum())
        found.append(close[..., keypoints].any(-1).sum(1))
    return _Hits(torch.stack(visible), torch.stack(found, dim=-1))


def _landmarks(keypoint_names: Sequence[str]) -> dict[str, list[int]]:
    """Name of every landmark, to the keypoints that show it: two for a left and right pair."""
    landmarks: dict[str, list[int]] = {}
    for index, name in enumerate(keypoint_names):
        landmarks.setdefault(name.removeprefix("left ").removeprefix("right "), []).append(index)
    return landmarks


def _in_double(split: Landmarks) -> Landmarks:
    places = ("centres", "keypoints", "boxes")
    real = {name: getattr(split, name).to("cpu", torch.float64) for name in places}
    return replace(split, **real, visible=split.visible.cpu(), owners=split.owners.cpu())


def _ratio(part: Tensor, whole: Tensor) -> float | None:
    return float(part) / float(whole) if whole > 0 else None


def _mean(figures: Iterable[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return sum(known) / len(known) if known else None
