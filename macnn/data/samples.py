"""What every data set layout is read into."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Box:
    """A bounding box in pixels of the stored image: top left corner and size."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Sample:
    """One labelled image.

    `label` is zero-based. `keypoints` holds one `(x, y)` in pixels of the stored image per part
    name of the data set, or None where the part is not visible; it is empty without annotations.
    """

    path: Path
    label: int
    split: Split
    box: Box | None = None
    keypoints: tuple[tuple[float, float] | None, ...] = ()


@dataclass(frozen=True)
class BadImage:
    """A sample whose image cannot be read, and why."""

    sample: Sample
    reason: str


@dataclass(frozen=True)
class ImageSet:
    """A data set: samples, the names behind their labels and keypoints, and where it came from.

    `layout` names the layout it was read as, `notes` says in sentences what the reader met and
    coped with, and `failed` lists the images that were left out because they cannot be read.
    """

    name: str
    root: Path
    samples: tuple[Sample, ...]
    class_names: tuple[str, ...]
    keypoint_names: tuple[str, ...] = ()
    layout: str = ""
    notes: tuple[str, ...] = ()
    failed: tuple[BadImage, ...] = ()

    def split(self, *names: Split) -> "ImageSet":
        """The same data set with only the images of these splits, order kept."""
        return replace(
            self,
            samples=tuple(s for s in self.samples if s.split in names),
            failed=tuple(b for b in self.failed if b.sample.split in names),
        )
