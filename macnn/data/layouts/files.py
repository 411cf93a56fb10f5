"""Reading the small files beside the images: lists, tables, MATLAB files, folders."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from macnn.data.names import SUFFIXES
from macnn.errors import DataError
from macnn.text import shown

_HIDDEN = (".", "@", "__MACOSX")  # what file managers and servers leave behind


def lines(file: Path, fields: int) -> Iterator[list[str]]:
    """Split every line into `fields`; the last one keeps its spaces. Blank lines are skipped.

    Raises:
        DataError: a line has fewer fields.
    """
    text = file.read_text(encoding="utf-8", errors="surrogateescape")
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        parts = line.strip().split(maxsplit=fields - 1)
        if len(parts) != fields:
            raise DataError(
                f"{shown(file)}:{number}: expected {fields} fields, got '{shown(line.strip())}'"
            )
        yield parts


def number(file: Path, text: str) -> float:
    """Read a number.

    Raises:
        DataError: it is none.
    """
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{shown(file)}: expected a number, got '{shown(text)}'") from None


def read_mat(file: Path, *variables: str) -> list[Any]:
    """Read variables of a MATLAB file, dimensions of length one removed.

    Raises:
        DataError: it is not one, or a variable is missing.
    """
    from scipy.io import loadmat

    try:
        content = loadmat(file, squeeze_me=True)
    except Exception as error:  # damaged files make scipy raise anything
        reason = shown(str(error))
        raise DataError(f"{shown(file)}: not a readable MATLAB file ({reason})") from None
    for variable in variables:
        if variable not in content:
            found = ", ".join(name for name in content if not name.startswith("__"))
            raise DataError(f"{shown(file)}: no variable '{variable}', it has {found or 'none'}")
    return [content[variable] for variable in variables]


def folders(folder: Path) -> list[str]:
    """Names of the folders in a folder, hidden ones left out, sorted."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith(_HIDDEN))


def images(folder: Path) -> list[str]:
    """Names of the image files in a folder, hidden ones left out, sorted."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if _is_image(entry))


def holds_images(folder: Path) -> bool:
    """Whether there is an image file in a folder."""
    with os.scandir(folder) as entries:
        return any(_is_image(entry) for entry in entries)


def _is_image(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith(_HIDDEN):
        return False
    return os.path.splitext(entry.name)[1].lower() in SUFFIXES and not entry.is_dir()  # noqa: PTH122
