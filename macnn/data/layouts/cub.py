"""The layout of CUB-200-2011, which `macnn data synth` writes too.

`images.txt` decides which images there are: the other files may list more. Ids are one-based and
need not be dense; labels become zero-based in the order of `classes.txt`.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from macnn.data.layouts.files import lines, number
from macnn.data.layouts.layout import Layout, assemble, below, need
from macnn.data.layouts.limits import LANDMARKS, POINTS
from macnn.data.samples import Box, ImageSet, Sample
from macnn.errors import DataError
from macnn.text import counted, shown

REQUIRED = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt")
TREE = """\
CUB_200_2011/
    images.txt                <image id> <path below images/>
    image_class_labels.txt    <image id> <class id>
    train_test_split.txt      <image id> <1 for training, 0 for test>
    classes.txt               <class id> <class name>
    images/
    bounding_boxes.txt        <image id> <x> <y> <width> <height>        optional
    parts/parts.txt           <part id> <part name>                      optional
    parts/part_locs.txt       <image id> <part id> <x> <y> <visible>     optional
"""
Point = tuple[float, float]


def recognise(root: Path) -> str | None:
    """Two of the four lists are enough."""
    found = [name for name in REQUIRED if (root / name).is_file()]
    return f"it holds {' and '.join(found[:2])}" if len(found) > 1 else None


def read_cub(root: Path) -> ImageSet:
    """Read a folder in the layout of CUB-200-2011.

    Raises:
        DataError: a missing file, a malformed line, an image without label or split, a class
            that is listed but never used, a class without training images.
    """
    need(root, "CUB-200-2011", *REQUIRED)
    names = _table(root / "classes.txt")
    images = _table(root / "images.txt")
    labels = _table(root / "image_class_labels.txt")
    training = _table(root / "train_test_split.txt")
    boxes = dict(_boxes(root / "bounding_boxes.txt"))
    part_names = _table(root / "parts" / "parts.txt")
    locations = _locations(root / "parts" / "part_locs.txt", tuple(part_names))

    index = {identity: position for position, identity in enumerate(names)}
    hidden = (None,) * len(part_names)
    samples = []
    for image, path in images.items():
        for table, file in ((labels, "image_class_labels.txt"), (training, "train_test_split.txt")):
            if image not in table:
                raise DataError(
                    f"{shown(root / file)}: no line for image {shown(image)} ({shown(path)})"
                )
        if labels[image] not in names:
            low = labels[image] == "0"
            raise DataError(
                f"{shown(root / 'image_class_labels.txt')}: image {shown(image)} has "
                f"class {shown(labels[image])}, which classes.txt does not list",
                hint="classes count from 1; add 1 to every label" if low else None,
            )
        if training[image] not in ("0", "1"):
            raise DataError(
                f"{shown(root / 'train_test_split.txt')}: image {shown(image)} has "
                f"'{shown(training[image])}', expected 1 (training) or 0 (test)"
            )
        samples.append(
            Sample(
                path=below(root / "images", path),
                label=index[labels[image]],
                split="train" if training[image] == "1" else "test",
                box=boxes.get(image),
                keypoints=locations.get(image, hidden),
            )
        )
    used = set(labels.values())
    for identity, name in names.items():
        if identity not in used:
            raise DataError(
                f"{shown(root / 'classes.txt')}: class '{shown(name)}' is empty, "
                "no image is labelled so",
                hint="add images, or take the class out of classes.txt",
            )
    others: dict[str, Iterable[str]] = {
        "image_class_labels.txt": labels,
        "train_test_split.txt": training,
        "bounding_boxes.txt": boxes,
        "parts/part_locs.txt": locations,
    }
    return assemble(
        "cub",
        root,
        samples,
        [shown(name) for name in names.values()],
        keypoint_names=tuple(shown(name) for name in part_names.values()),
        notes=_surplus(images, others),
    )


def _surplus(images: Iterable[str], others: dict[str, Iterable[str]]) -> list[str]:
    """A note on the files that list images which are not in `images.txt`."""
    files: dict[int, list[str]] = {}
    for file, listed in others.items():
        if absent := len(set(listed) - set(images)):
            files.setdefault(absent, []).append(file)
    return [
        f"{', '.join(names)}: {counted(absent, 'listed image')} absent from images.txt"
        for absent, names in files.items()
    ]


def _table(file: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for identity, value in _lines(file, 2):
        if identity in found:
            raise DataError(f"{shown(file)}: id {shown(identity)} is listed twice")
        found[identity] = value
    return found


def _lines(file: Path, fields: int) -> Iterator[list[str]]:
    """The lines of a file that may be missing."""
    return lines(file, fields) if file.exists() else iter(())


def _boxes(file: Path) -> Iterator[tuple[str, Box]]:
    for image, *numbers in _lines(file, 5):
        yield image, Box(*(number(file, text) for text in numbers))


def _locations(file: Path, parts: tuple[str, ...]) -> dict[str, tuple[Point | None, ...]]:
    """Locations per image, in the order of `parts`; a part without a line is not visible."""
    if len(parts) > LANDMARKS:
        raise DataError(f"{shown(file.parent)}: more than {LANDMARKS:,} parts")
    index = {identity: position for position, identity in enumerate(parts)}
    found: dict[str, list[Point | None]] = {}
    for image, part, x, y, visible in _lines(file, 5):
        if part not in index:
            raise DataError(
                f"{shown(file)}: image {shown(image)} has part {shown(part)}, "
                "which parts.txt does not list"
            )
        points = found.setdefault(image, [None] * len(parts))
        if len(found) * len(parts) > POINTS:
            raise DataError(f"{shown(file)}: more than {POINTS:,} points")
        if visible == "1":
            points[index[part]] = (number(file, x), number(file, y))
    return {image: tuple(points) for image, points in found.items()}


CUB = Layout("cub", "CUB-200-2011", TREE, recognise, read_cub)
