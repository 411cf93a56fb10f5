"""The layout of Stanford Dogs."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from macnn.data.layouts.files import read_mat
from macnn.data.layouts.layout import Layout, assemble, from_one, need
from macnn.data.samples import Box, ImageSet, Sample, Split
from macnn.errors import DataError
from macnn.text import shown

LISTS: dict[str, Split] = {"train_list.mat": "train", "test_list.mat": "test"}
TREE = """\
stanford_dogs/
    train_list.mat                 file_list: paths below Images/; labels: classes, from 1
    test_list.mat                  both here or in lists/
    Images/n02085620-Chihuahua/n02085620_10074.jpg
    Annotation/n02085620-Chihuahua/n02085620_10074     boxes as XML      optional
"""


def recognise(root: Path) -> str | None:
    """Either list is enough."""
    for name in LISTS:
        file = _folder(root) / name
        if file.is_file():
            return f"it holds {file.relative_to(root)}"
    return None


def read_dogs(root: Path) -> ImageSet:
    """Read a folder in the layout of Stanford Dogs; its boxes hold all dogs of an image.

    Raises:
        DataError: a missing or unreadable file, a class that spans folders, a class without
            training images.
    """
    lists = _folder(root)
    need(lists, "Stanford Dogs", *LISTS)
    need(root, "Stanford Dogs", "Images")
    rows = [
        (lists / file, split, str(path), int(label))
        for file, split in LISTS.items()
        for path, label in _pairs(lists / file)
    ]
    folders: dict[int, str] = {}
    for file, _, path, label in rows:
        folder = path.partition("/")[0]
        known = folders.setdefault(label, folder)
        if known != folder:
            raise DataError(
                f"{shown(file)}: {shown(path)} has class {label}, but so has {shown(known)}/",
                hint="one folder is one class",
            )
    count = max(folders)
    names = [_name(folders.get(label, str(label))) for label in range(1, count + 1)]
    samples = [
        Sample(
            root / "Images" / path,
            from_one(label, count, f"{shown(file)}: {shown(path)}"),
            split,
            _box(root / "Annotation" / Path(path).with_suffix("")),
        )
        for file, split, path, label in rows
    ]
    return assemble("dogs", root, samples, names)


def _folder(root: Path) -> Path:
    return root / "lists" if (root / "lists").is_dir() else root


def _name(folder: str) -> str:
    """`n02085620-Chihuahua` is Chihuahua."""
    return shown(folder.partition("-")[2] or folder)


def _pairs(file: Path) -> list[tuple[str, int]]:
    paths, labels = (np.atleast_1d(v).tolist() for v in read_mat(file, "file_list", "labels"))
    if len(paths) != len(labels):
        raise DataError(f"{shown(file)}: {len(paths)} files, but {len(labels)} labels")
    return list(zip(paths, labels, strict=True))


def _box(file: Path) -> Box | None:
    if not file.is_file():
        return None
    try:
        boxes = [
            [float(box.findtext(name, "")) for name in ("xmin", "ymin", "xmax", "ymax")]
            for box in ElementTree.parse(file).iter("bndbox")
        ]
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{shown(file)}: not a readable annotation ({error})") from None
    if not boxes:
        return None
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    left, top = min(lefts), min(tops)
    return Box(left, top, max(rights) - left, max(bottoms) - top)


DOGS = Layout("dogs", "Stanford Dogs", TREE, recognise, read_dogs)
