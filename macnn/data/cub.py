"""The CUB-200-2011 layout, which `macnn data synth` writes too.

    images.txt              <image id> <path below images/>
    image_class_labels.txt  <image id> <class id>
    train_test_split.txt    <image id> <1 for training, 0 for test>
    classes.txt             <class id> <class name>
    bounding_boxes.txt      <image id> <x> <y> <width> <height>          optional
    parts/parts.txt         <part id> <part name>                        optional
    parts/part_locs.txt     <image id> <part id> <x> <y> <visible>       optional

`images.txt` decides which images there are: the other files may list more. Ids are one-based and
need not be dense; labels become zero-based in the order of `classes.txt`.
"""

from collections.abc import Iterator
from pathlib import Path

from macnn.data.samples import Box, ImageSet, Sample
from macnn.errors import DataError

REQUIRED = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt")
Point = tuple[float, float]


def read_cub(root: Path) -> ImageSet:
    """Read a folder in the CUB-200-2011 layout, or the parent of one.

    A class whose labelled images are all absent from `images.txt` is not part of the data set.

    Raises:
        DataError: a missing folder or file, a malformed line, an image without label or split,
            a class without training images.
    """
    root = _locate(root)
    names = dict(_pairs(root / "classes.txt"))
    labels = dict(_pairs(root / "image_class_labels.txt"))
    training = dict(_pairs(root / "train_test_split.txt"))
    boxes = dict(_boxes(root / "bounding_boxes.txt"))
    part_names = dict(_pairs(root / "parts" / "parts.txt"))
    locations = _locations(root / "parts" / "part_locs.txt", tuple(part_names))

    images = list(_pairs(root / "images.txt"))
    if not images:
        raise DataError(f"{root / 'images.txt'}: lists no image")
    for image, path in images:
        for table, file in ((labels, "image_class_labels.txt"), (training, "train_test_split.txt")):
            if image not in table:
                raise DataError(f"{root / file}: no line for image {image} ({path})")
        if labels[image] not in names:
            raise DataError(
                f"{root / 'image_class_labels.txt'}: image {image} has class {labels[image]}, "
                "which classes.txt does not list"
            )
        if training[image] not in ("0", "1"):
            raise DataError(
                f"{root / 'train_test_split.txt'}: image {image} has '{training[image]}', "
                "expected 1 (training) or 0 (test)"
            )

    for identity in names.keys() - set(labels.values()):
        raise DataError(
            f"{root / 'classes.txt'}: class '{names[identity]}' is empty, no image is labelled so",
            hint="add images, or take the class out of classes.txt",
        )
    present = {labels[image] for image, _ in images}
    classes = {name: index for index, name in enumerate(c for c in names if c in present)}
    samples = tuple(
        Sample(
            path=root / "images" / path,
            label=classes[labels[image]],
            split="train" if training[image] == "1" else "test",
            box=boxes.get(image),
            keypoints=locations.get(image, (None,) * len(part_names)),
        )
        for image, path in images
    )
    trained = {sample.label for sample in samples if sample.split == "train"}
    for identity, label in classes.items():
        if label not in trained:
            raise DataError(
                f"{root}: class '{names[identity]}' has no training image",
                hint="add some, or take the class out of classes.txt",
            )
    return ImageSet(
        name=root.name,
        root=root,
        samples=samples,
        class_names=tuple(names[identity] for identity in classes),
        keypoint_names=tuple(part_names.values()),
    )


def _locate(root: Path) -> Path:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder", hint="--data takes the folder of a data set")
    if not (root / "images.txt").is_file():
        below = sorted(path.parent for path in root.glob("*/images.txt"))
        if len(below) > 1:
            found = ", ".join(path.name for path in below)
            raise DataError(f"{root}: holds several data sets ({found})", hint="name one of them")
        root = below[0] if below else root
    for file in REQUIRED:
        if not (root / file).is_file():
            raise DataError(
                f"{root}: not in the CUB-200-2011 layout, {file} is missing",
                hint="--data takes the folder that holds images.txt, or its parent",
            )
    return root


def _lines(file: Path, fields: int) -> Iterator[list[str]]:
    """Split every line into `fields`; the last one keeps its spaces. No file, no lines."""
    if not file.is_file():
        return
    text = file.read_text(encoding="utf-8", errors="surrogateescape")
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        parts = line.strip().split(maxsplit=fields - 1)
        if len(parts) != fields:
            raise DataError(f"{file}:{number}: expected {fields} fields, got {line.strip()!r}")
        yield parts


def _pairs(file: Path) -> Iterator[tuple[str, str]]:
    return ((identity, value) for identity, value in _lines(file, 2))


def _boxes(file: Path) -> Iterator[tuple[str, Box]]:
    for image, *numbers in _lines(file, 5):
        yield image, Box(*(_number(file, text) for text in numbers))


def _locations(file: Path, parts: tuple[str, ...]) -> dict[str, tuple[Point | None, ...]]:
    """Locations per image, in the order of `parts`; a part without a line is not visible."""
    index = {identity: position for position, identity in enumerate(parts)}
    found: dict[str, list[Point | None]] = {}
    for image, part, x, y, visible in _lines(file, 5):
        if part not in index:
            raise DataError(f"{file}: image {image} has part {part}, which parts.txt does not list")
        points = found.setdefault(image, [None] * len(parts))
        if visible == "1":
            points[index[part]] = (_number(file, x), _number(file, y))
    return {image: tuple(points) for image, points in found.items()}


def _number(file: Path, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{file}: expected a number, got '{text}'") from None
