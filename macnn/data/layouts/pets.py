"""The layout of Oxford-IIIT Pets. A class is named by its images: `<class name>_<number>.jpg`."""

from pathlib import Path

from macnn.data.layouts.files import lines, whole
from macnn.data.layouts.layout import Layout, assemble, below, holds, need
from macnn.data.samples import ImageSet, Sample, Split
from macnn.errors import DataError
from macnn.text import shown

SPLITS: dict[str, Split] = {"trainval": "train", "test": "test"}
TREE = """\
oxford-iiit-pet/
    annotations/trainval.txt    <class name>_<number> <class id> <species> <breed id>
    annotations/test.txt        likewise
    images/<class name>_<number>.jpg
"""


def recognise(root: Path) -> str | None:
    """Any of the lists of images is enough."""
    lists = ("trainval.txt", "test.txt", "list.txt")
    return holds(root, (root / "annotations" / name for name in lists))


def read_pets(root: Path) -> ImageSet:
    """Read a folder in the layout of Oxford-IIIT Pets.

    Raises:
        DataError: a missing file, a malformed line, a class id with two names or a name with two
            ids, a class without training images.
    """
    need(root, "Oxford-IIIT Pets", "annotations/trainval.txt", "annotations/test.txt", "images")
    rows = [
        (root / "annotations" / f"{file}.txt", split, line[0], line[1])
        for file, split in SPLITS.items()
        for line in lines(root / "annotations" / f"{file}.txt", 4)
        if not line[0].startswith("#")
    ]
    named: dict[int, str] = {}
    numbered: dict[str, int] = {}
    for file, _, image, identity in rows:
        name = image.rpartition("_")[0]
        number = _class(file, image, identity)
        if named.setdefault(number, name) != name or numbered.setdefault(name, number) != number:
            raise DataError(
                f"{shown(file)}: image {shown(image)} has class {number}, but "
                f"'{shown(named[number])}' is class {numbered[named[number]]} elsewhere"
            )
    names = [name for _, name in sorted(named.items())]
    index = {name: label for label, name in enumerate(names)}
    samples = [
        Sample(below(root / "images", f"{image}.jpg"), index[image.rpartition("_")[0]], split)
        for _, split, image, _ in rows
    ]
    return assemble("pets", root, samples, [shown(name) for name in names])


def _class(file: Path, image: str, text: str) -> int:
    found = whole(text)
    if not found:
        raise DataError(
            f"{shown(file)}: image {shown(image)} has class '{shown(text)}', "
            "expected a number from 1"
        )
    return found


PETS = Layout("pets", "Oxford-IIIT Pets", TREE, recognise, read_pets)
