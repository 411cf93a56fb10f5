"""The layout of FGVC-Aircraft, with labels at one of its three levels."""

from functools import partial
from pathlib import Path

from macnn.data.layouts.files import lines, number
from macnn.data.layouts.layout import Layout, assemble, below, holds, need
from macnn.data.samples import Box, ImageSet, Sample, Split
from macnn.errors import DataError
from macnn.text import shown

LEVELS = {"variant": "variants", "family": "families", "manufacturer": "manufacturers"}
TREE = """\
fgvc-aircraft-2013b/data/               the folder data itself will do
    {names:<36}one class name per line
    {train:<36}<image> <class name>
    {val:<36}likewise; or images_{level}_trainval.txt
    {test:<36}likewise
    images/<image>.jpg                  their lowest 20 rows are a banner
    images_box.txt                      <image> <x min> <y min> <x max> <y max>    optional
"""


def recognise(root: Path) -> str | None:
    """One list of any level is enough."""
    lists = (
        file
        for level, names in LEVELS.items()
        for file in (f"{names}.txt", f"images_{level}_trainval.txt", f"images_{level}_test.txt")
    )
    return holds(root, (_folder(root) / file for file in lists))


def read_aircraft(root: Path, level: str) -> ImageSet:
    """Read the data set with the labels of `level`: variant, family or manufacturer.

    Raises:
        DataError: a missing file, a malformed line, a class that is not in the list of names, an
            image in two splits, a class without training images.
    """
    folder = _folder(root)
    listed = f"{LEVELS[level]}.txt"
    need(folder, "FGVC-Aircraft", listed, f"images_{level}_test.txt", "images")
    names = [name.strip() for (name,) in lines(folder / listed, 1)]
    index = {name: label for label, name in enumerate(names)}
    boxes = _boxes(folder / "images_box.txt")
    samples = []
    for file, split in _splits(folder, level):
        for image, name in lines(folder / file, 2):
            if name not in index:
                raise DataError(
                    f"{shown(folder / file)}: image {shown(image)} has class '{shown(name)}', "
                    f"which {listed} does not list"
                )
            path = below(folder / "images", f"{image}.jpg")
            samples.append(Sample(path, index[name], split, boxes.get(image)))
    return assemble(_name(level), root, samples, [shown(name) for name in names])


def _folder(root: Path) -> Path:
    return root / "data" if (root / "data").is_dir() else root


def _splits(folder: Path, level: str) -> list[tuple[str, Split]]:
    """Files of the splits; where training and validation are one list, all of it is training."""
    train, both = f"images_{level}_train.txt", f"images_{level}_trainval.txt"
    test: tuple[str, Split] = (f"images_{level}_test.txt", "test")
    if (folder / both).is_file() and not (folder / train).is_file():
        return [(both, "train"), test]
    need(folder, "FGVC-Aircraft", train, f"images_{level}_val.txt")
    return [(train, "train"), (f"images_{level}_val.txt", "validation"), test]


def _boxes(file: Path) -> dict[str, Box]:
    """Boxes per image; the file counts pixels from 1, both ends included."""
    if not file.exists():
        return {}
    found = {}
    for image, *numbers in lines(file, 5):
        left, top, right, bottom = (number(file, text) for text in numbers)
        found[image] = Box(left - 1, top - 1, right - left + 1, bottom - top + 1)
    return found


def _name(level: str) -> str:
    return "aircraft" if level == "variant" else f"aircraft-{level}"


AIRCRAFT, FAMILIES, MANUFACTURERS = (
    Layout(
        _name(level),
        f"FGVC-Aircraft, labels by {level}",
        TREE.format(
            level=level,
            names=f"{names}.txt",
            **{split: f"images_{level}_{split}.txt" for split in ("train", "val", "test")},
        ),
        recognise,
        partial(read_aircraft, level=level),
    )
    for level, names in LEVELS.items()
)
