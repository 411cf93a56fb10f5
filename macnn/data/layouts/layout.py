"""What every layout has in common: how it is described, and the checks all of them need."""

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from macnn.data.layouts.limits import CLASSES, IMAGES, LANDMARKS, NAME
from macnn.data.samples import ImageSet, Sample
from macnn.errors import DataError
from macnn.text import counted, shown


@dataclass(frozen=True)
class Layout:
    """A way in which people keep a data set on disk.

    name: what `data.dataset` takes. title: what people call it. tree: the expected files.
    recognise: why a folder (or file) looks like this layout, or None; a damaged data set should
    still be recognised, so that `load` can say what is wrong. load: reads it, or raises a
    DataError that names the file and the remedy.
    """

    name: str
    title: str
    tree: str
    recognise: Callable[[Path], str | None]
    load: Callable[[Path], ImageSet]


def assemble(
    layout: str,
    root: Path,
    samples: Sequence[Sample],
    class_names: Sequence[str],
    *,
    keypoint_names: tuple[str, ...] = (),
    notes: Sequence[str] = (),
) -> ImageSet:
    """Make an image set of what a layout lists, labels being indices into `class_names`.

    Classes without any image, as partial copies have, are left out and noted; so is it noted when
    there are no splits.

    Raises:
        DataError: no image, an image listed twice, fewer than two classes, a class without
            training images, or more of anything than `limits` allow.
    """
    if not samples:
        raise DataError(f"{shown(root)}: lists no image")
    _bounded(root, samples, class_names, keypoint_names)
    path, count = Counter(sample.path for sample in samples).most_common(1)[0]
    if count > 1:
        raise DataError(
            f"{shown(path)}: listed {count} times", hint="an image has one label and one split"
        )
    present = sorted({sample.label for sample in samples})
    trained = {sample.label for sample in samples if sample.split == "train"}
    for label in present:
        if label not in trained:
            raise DataError(
                f"{shown(root)}: class '{class_names[label]}' has no training image",
                hint="add some, or take the class out",
            )
    if len(present) < 2:
        raise DataError(
            f"{shown(root)}: only one class, '{class_names[present[0]]}'",
            hint="a classifier needs two",
        )
    absent = sorted(set(range(len(class_names))) - set(present))
    if absent:
        first = ", ".join(f"'{class_names[label]}'" for label in absent[:3])
        more = ", ..." if len(absent) > 3 else ""
        verb = "has" if len(absent) == 1 else "have"
        notes = [*notes, f"{counted(len(absent), 'class')} {verb} no image: {first}{more}"]
    if all(sample.split == "train" for sample in samples):
        notes = [*notes, "it has no splits: a share of every class is held out for testing"]
    dense = {label: index for index, label in enumerate(present)}
    return ImageSet(
        name=root.name,
        root=root,
        samples=tuple(replace(sample, label=dense[sample.label]) for sample in samples),
        class_names=tuple(class_names[label] for label in present),
        keypoint_names=keypoint_names,
        layout=layout,
        notes=tuple(notes),
    )


def below(folder: Path, name: str) -> Path:
    """The path of an image that a list names, below a folder.

    Raises:
        DataError: it is absolute, or leads out of the folder again.
    """
    path = Path(name)
    if path.is_absolute() or ".." in path.parts:
        raise DataError(
            f"{shown(name)}: listed, but lies outside {shown(folder)}",
            hint="a list names images below it; a CSV manifest may name any",
        )
    return folder / path


def outside(images: ImageSet) -> list[tuple[Sample, Path]]:
    """Images that really lie outside the folder of their data set, and where; links followed."""
    home = os.path.realpath(images.root)
    inside = home.rstrip(os.sep) + os.sep
    folders: dict[Path, str] = {}
    found = []
    for sample in images.samples:
        folder = sample.path.parent
        try:
            if folder not in folders:
                folders[folder] = os.path.realpath(folder)
            real = os.path.join(folders[folder], sample.path.name)  # noqa: PTH118  # it is faster
            if real.startswith(inside) and stat.S_ISLNK(os.lstat(real).st_mode):
                real = os.path.realpath(real)
        except (OSError, ValueError):  # missing, or a NUL in its name: whoever reads it says so
            continue
        if not real.startswith(inside):
            found.append((sample, Path(real)))
    return found


def _bounded(
    root: Path, samples: Sequence[Sample], class_names: Sequence[str], landmarks: Sequence[str]
) -> None:
    for things, found, most in (
        ("images", samples, IMAGES),
        ("classes", class_names, CLASSES),
        ("landmarks", landmarks, LANDMARKS),
    ):
        if len(found) > most:
            raise DataError(f"{shown(root)}: {len(found):,} {things}, more than {most:,}")
    longest = max((*class_names, *landmarks), key=len, default="")
    if len(longest) > NAME:
        raise DataError(
            f"{shown(root)}: a name of more than {NAME} characters, '{shown(longest, 60)}'"
        )


def from_one(number: int, count: int, where: str) -> int:
    """A zero-based label from a class number that counts from one.

    Raises:
        DataError: it is not in 1 to `count`; `where` names the file and the image.
    """
    if 1 <= number <= count:
        return number - 1
    hint = "classes count from 1; add 1 to every label" if number == 0 else None
    raise DataError(f"{where} has class {number}, expected 1 to {count}", hint=hint)


def holds(root: Path, files: Iterable[Path]) -> str | None:
    """Why a folder looks like a layout that has any of these files; None if none is there."""
    found = next((file for file in files if file.is_file()), None)
    return f"it holds {found.relative_to(root)}" if found else None


def need(root: Path, title: str, *names: str) -> None:
    """Check that files and folders are there.

    Raises:
        DataError: one is missing.
    """
    for name in names:
        if not (root / name).exists():
            raise DataError(
                f"{shown(root)}: not in the {title} layout, {name} is missing",
                hint="name its whole folder, or another `data.dataset`",
            )
