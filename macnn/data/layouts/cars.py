"""The layouts of Stanford Cars found in the wild.

The official archives put test annotations beside the devkit; mirrors put them inside it, or ship
one combined list, or extract images into a folder of the same name.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from macnn.data.layouts.files import read_mat
from macnn.data.layouts.layout import Layout, assemble, from_one
from macnn.data.samples import Box, ImageSet, Sample, Split
from macnn.errors import DataError
from macnn.text import shown

META, COMBINED = "cars_meta.mat", "cars_annos.mat"
TRAIN, TEST, UNLABELLED = (
    "cars_train_annos.mat",
    "cars_test_annos_withlabels.mat",
    "cars_test_annos.mat",
)
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
    for name in (COMBINED, META, TRAIN, TEST, UNLABELLED):
        if file := _find(root, name):
            return f"it holds {file.relative_to(root)}"
    return None


def read_cars(root: Path) -> ImageSet:
    """Read any of the layouts.

    Raises:
        DataError: a missing or unreadable file, test annotations without labels, a class that is
            not in the list of names, a class without training images.
    """
    combined = _find(root, COMBINED)
    if combined and ((root / "car_ims").is_dir() or not _find(root, TRAIN)):
        records, names = read_mat(combined, "annotations", "class_names")
        rows = [
            (root / str(record["relative_im_path"]), _split(record), record, combined)
            for record in _records(records, combined, "relative_im_path", "test")
        ]
    else:
        meta, train = _require(root, META), _require(root, TRAIN)
        test = _require(root, TEST)
        (names,) = read_mat(meta, "class_names")
        rows = [*_list(root, "cars_train", train, "train"), *_list(root, "cars_test", test, "test")]
    names = [shown(str(name)) for name in np.atleast_1d(names)]
    samples = [
        Sample(
            path,
            from_one(int(record["class"]), len(names), f"{shown(file)}: {shown(path.name)}"),
            split,
            _box(record),
        )
        for path, split, record, file in rows
    ]
    return assemble("cars", root, samples, names)


def _find(root: Path, name: str) -> Path | None:
    places = (root / name, root / "devkit" / name)
    return next((file for file in places if file.is_file()), None)


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


def _list(
    root: Path, folder: str, file: Path, split: Split
) -> Iterator[tuple[Path, Split, Any, Path]]:
    inner = root / folder / folder
    images = inner if inner.is_dir() else root / folder
    (records,) = read_mat(file, "annotations")
    for record in _records(records, file, "fname"):
        yield images / str(record["fname"]), split, record, file


def _records(records: Any, file: Path, *fields: str) -> Any:
    records = np.atleast_1d(records)
    for field in (*fields, "class"):
        if field not in (records.dtype.names or ()):
            raise DataError(f"{shown(file)}: its annotations have no field '{field}'")
    return records


def _split(record: Any) -> Split:
    return "test" if record["test"] else "train"


def _box(record: Any) -> Box | None:
    """The box, which MATLAB counts from 1, both ends included."""
    if "bbox_x1" not in record.dtype.names:
        return None
    left, top, right, bottom = (float(record[f"bbox_{name}"]) for name in ("x1", "y1", "x2", "y2"))
    return Box(left - 1, top - 1, right - left + 1, bottom - top + 1)


CARS = Layout("cars", "Stanford Cars", TREE, recognise, read_cars)
