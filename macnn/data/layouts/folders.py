"""A folder of class folders, with or without folders for the splits above them."""

from collections.abc import Iterable
from pathlib import Path

from macnn.data.layouts.files import folders, holds_images, images
from macnn.data.layouts.layout import Layout, assemble
from macnn.data.samples import ImageSet, Sample, Split
from macnn.errors import DataError
from macnn.text import counted, shown

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
TREE = """\
birds/
    train/<class name>/<any name>.jpg
    val/<class name>/...          or valid/, or validation/     optional
    test/<class name>/...                                       optional
or
    <class name>/<any name>.jpg   divided into training and test images by a seed
"""


def recognise(root: Path) -> str | None:
    """Split folders with class folders in them, or at least two class folders."""
    if not root.is_dir():
        return None
    if splits := _splits(root):
        return f"it holds class folders below {', '.join(f'{shown(s)}/' for s in splits)}"
    count = len(_classes(root))
    return f"it holds {count} folders of images" if count > 1 else None


def lacks(root: Path) -> str:
    """What keeps a folder from being one of class folders."""
    if classes := _classes(root):
        return f"only one folder in it holds images ('{shown(classes[0])}')"
    if loose := len(images(root)):
        return f"{counted(loose, 'image')} in it, but no folder holds any"
    return "no folder in it holds images"


def read_folders(root: Path) -> ImageSet:
    """Read class folders; classes are sorted by name. Without split folders all is training.

    Raises:
        DataError: no class folders, two folders for one split, no training folder, a class
            without training images.
    """
    if not root.is_dir():
        raise DataError(f"{shown(root)}: not a folder of class folders")
    splits = _splits(root)
    _one_each(root, splits)
    found: list[tuple[Path, str, Split]] = [
        (root / folder / name, name, split)
        for folder, split in splits.items()
        for name in _classes(root / folder)
    ] or [(root / name, name, "train") for name in _classes(root)]
    if not found:
        raise DataError(
            f"{shown(root)}: no folder in it holds images", hint="make one folder per class"
        )
    names = sorted({name for _, name, _ in found})
    index = {name: label for label, name in enumerate(names)}
    samples = [
        Sample(folder / image, index[name], split)
        for folder, name, split in found
        for image in images(folder)
    ]
    taken = {folder for folder, _, _ in found} | {root / folder for folder in splits}
    above = [root, *(root / folder for folder in splits)]
    notes = [note for place in above for note in _strays(place, taken)]
    return assemble("folders", root, samples, [shown(name) for name in names], notes=notes)


def _splits(root: Path) -> dict[str, Split]:
    """Folders that are called like a split and hold class folders."""
    return {
        folder: SPLIT_NAMES[folder.lower()]
        for folder in folders(root)
        if folder.lower() in SPLIT_NAMES and _classes(root / folder)
    }


def _one_each(root: Path, splits: dict[str, Split]) -> None:
    for split in set(splits.values()):
        names = [folder for folder, meant in splits.items() if meant == split]
        if len(names) > 1:
            raise DataError(
                f"{shown(root)}: {' and '.join(f'{n}/' for n in names)} both mean {split} images",
                hint="keep one of them",
            )
    if splits and "train" not in splits.values():
        raise DataError(f"{shown(root)}: {', '.join(f'{n}/' for n in splits)} but no train/")


def _classes(folder: Path) -> list[str]:
    return [name for name in folders(folder) if holds_images(folder / name)]


def _strays(folder: Path, taken: Iterable[Path]) -> list[str]:
    """Notes on what lies beside the class folders and is not taken for a class or a sample."""
    notes = [
        f"{shown(folder / name)}/ holds no class: left out"
        for name in folders(folder)
        if folder / name not in taken
    ]
    if loose := len(images(folder)):
        notes.append(f"{shown(folder)}: {counted(loose, 'image')} outside class folders: left out")
    return notes


FOLDERS = Layout("folders", "Class folders", TREE, recognise, read_folders)
