"""The layout of Stanford Dogs."""

from pathlib import Path
from xml.etree import ElementTree

from macnn.data.layouts.files import number
from macnn.data.layouts.layout import Layout, assemble, below, from_one, holds, need
from macnn.data.layouts.limits import CLASSES
from macnn.data.layouts.matlab import MatFile
from macnn.data.samples import Box, ImageSet, Sample, Split
from macnn.errors import DataError
from macnn.reading import read_text, why
from macnn.text import shown

ANNOTATION_BYTES = 2**20
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
    return holds(root, (_folder(root) / name for name in LISTS))


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
        (lists / file, split, path, label)
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
    count = min(max(folders, default=0), CLASSES)
    names = [_name(folders.get(label, str(label))) for label in range(1, count + 1)]
    samples = [
        Sample(
            below(root / "Images", path),
            from_one(label, count, f"{shown(file)}: {shown(path)}"),
            split,
            _box(below(root / "Annotation", path)),
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
    lists = MatFile(file)
    paths, labels = lists.values("file_list", str), lists.values("labels", int)
    if len(paths) != len(labels):
        raise DataError(f"{shown(file)}: {len(paths)} files, but {len(labels)} labels")
    return list(zip(paths, labels, strict=True))


def _box(image: Path) -> Box | None:
    """The box around all dogs of an image, given the place of its annotation with a suffix."""
    file = image.parent / image.stem
    if not file.exists():
        return None
    text = read_text(file, DataError, limit=ANNOTATION_BYTES)
    try:
        if "<!DOCTYPE" in text:  # its entities may be larger than any memory
            raise ValueError("it has a DOCTYPE")
        tree = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{shown(file)}: not a readable annotation ({why(error)})") from None
    boxes = [
        [number(file, box.findtext(name, "").strip()) for name in ("xmin", "ymin", "xmax", "ymax")]
        for box in tree.iter("bndbox")
    ]
    if not boxes:
        return None
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    left, top = min(lefts), min(tops)
    return Box(left, top, max(rights) - left, max(bottoms) - top)


DOGS = Layout("dogs", "Stanford Dogs", TREE, recognise, read_dogs)
