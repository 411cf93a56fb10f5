"""The layouts of Stanford Cars found in the wild.

The official archives put test annotations beside the devkit; mirrors put them inside it, or ship
one combined list, or extract images into a folder of the same name.
"""

from collections.abc import Iterator
from pathlib import Path

from macnn.data.layouts.layout import Layout, assemble, below, from_one, holds
from macnn.data.layouts.matlab import MatFile
from macnn.data.samples import Box, ImageSet, Sample, Split
from macnn.errors import DataError
from macnn.text import shown

META, COMBINED = "cars_meta.mat", "cars_annos.mat"
TRAIN, TEST, UNLABELLED = (
    "cars_train_annos.mat",
    "cars_test_annos_withlabels.mat",
    "cars_test_annos.mat",
)
BOX = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")
TREE = """\
stanford_cars/
    devkit/cars_meta.mat               class names
    devkit/cars_train_annos.mat        these three may also lie in stanford_cars/
    cars_test_annos_withlabels.mat     or in devkit/
    cars_train/00001.jpg               or cars_train/cars_train/
    cars_test/00001.jpg                or cars_test/cars_test/
or
    cars_annos.mat                     the combined list, here or in devkit/
    car_ims/000001.jpg
"""


def recognise(root: Path) -> str | None:
    """Any of the annotation files is enough."""
    names = (COMBINED, META, TRAIN, TEST, UNLABELLED)
    return holds(root, (place for name in names for place in _places(root, name)))


def read_cars(root: Path) -> ImageSet:
    """Read any of the layouts.

    Raises:
        DataError: a missing or unreadable file, test annotations without labels, a class that is
            not in the list of names, a class without training images.
    """
    combined = _find(root, COMBINED)
    if combined and ((root / "car_ims").is_dir() or not _find(root, TRAIN)):
        annotations = MatFile(combined)
        names = annotations.values("class_names", str)
        samples = list(_samples(annotations, combined, len(names), "relative_im_path", root))
    else:
        meta, train, test = (_require(root, name) for name in (META, TRAIN, TEST))
        names = MatFile(meta).values("class_names", str)
        count = len(names)
        samples = [
            *_samples(MatFile(train), train, count, "fname", _images(root, "cars_train"), "train"),
            *_samples(MatFile(test), test, count, "fname", _images(root, "cars_test"), "test"),
        ]
    return assemble("cars", root, samples, [shown(name) for name in names])


def _find(root: Path, name: str) -> Path | None:
    return next((file for file in _places(root, name) if file.is_file()), None)


def _places(root: Path, name: str) -> tuple[Path, Path]:
    return root / name, root / "devkit" / name


def _require(root: Path, name: str) -> Path:
    file = _find(root, name)
    if file is None:
        unlabelled = name == TEST and _find(root, UNLABELLED)
        raise DataError(
            f"{shown(root)}: not in the Stanford Cars layout, {name} is missing",
            hint=f"{UNLABELLED} has no labels, {TEST} is a download of its own"
            if unlabelled
            else "it belongs in this folder or in devkit/",
        )
    return file


def _images(root: Path, name: str) -> Path:
    inner = root / name / name
    return inner if inner.is_dir() else root / name


def _samples(
    annotations: MatFile,
    file: Path,
    classes: int,
    path: str,
    folder: Path,
    split: Split | None = None,
) -> Iterator[Sample]:
    """The annotations of a file, whose field `path` lies below `folder`.

    Without `split` each says itself whether it is of the test images.
    """
    boxed = "bbox_x1" in annotations.fields("annotations")
    kinds: dict[str, type] = {path: str, "class": int}
    kinds |= {} if split else {"test": int}
    kinds |= dict.fromkeys(BOX, float) if boxed else {}
    columns = annotations.columns("annotations", kinds)
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        image = below(folder, row[path])
        yield Sample(
            image,
            from_one(row["class"], classes, f"{shown(file)}: {shown(image.name)}"),
            split or ("test" if row["test"] else "train"),
            _box(*(row[side] for side in BOX)) if boxed else None,
        )


def _box(left: float, top: float, right: float, bottom: float) -> Box:
    """The box, which MATLAB counts from 1, both ends included."""
    return Box(left - 1, top - 1, right - left + 1, bottom - top + 1)


CARS = Layout("cars", "Stanford Cars", TREE, recognise, read_cars)
