"""Reading the small files beside the images: lists, numbers, folders."""

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

from macnn.data.layouts.limits import COORDINATE, LINE, ROWS
from macnn.data.names import SUFFIXES
from macnn.errors import DataError
from macnn.reading import LIST_BYTES, read_bytes
from macnn.text import shown

_HIDDEN = (".", "@", "__MACOSX")  # what file managers and servers leave behind
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


def lines(file: Path, fields: int) -> Iterator[list[str]]:
    """Split every line into `fields`; the last one keeps its spaces. Blank lines are skipped.

    Raises:
        DataError: the file cannot be read or is too large, or a line has fewer fields.
    """
    content = read_bytes(file, DataError, limit=LIST_BYTES)
    stream = io.TextIOWrapper(io.BytesIO(content), "utf-8", "surrogateescape")
    for number, row in enumerate(iter(lambda: stream.readline(LINE + 1), ""), start=1):
        if number > ROWS:
            raise DataError(f"{shown(file)}: more than {ROWS:,} lines")
        if len(row) > LINE:
            raise DataError(f"{shown(file)}:{number}: more than {LINE:,} characters")
        line = row.strip()
        if not line:
            continue
        parts = line.split(maxsplit=fields - 1)
        if len(parts) != fields:
            raise DataError(
                f"{shown(file)}:{number}: expected {fields} fields, got '{shown(line, 200)}'"
            )
        yield parts


def number(file: Path, text: str) -> float:
    """Read a number of pixels.

    Raises:
        DataError: it is none, not finite, or larger than any picture.
    """
    found = float(text) if _NUMBER.fullmatch(text) else None
    if found is None or abs(found) > COORDINATE:
        raise DataError(f"{shown(file)}: expected a number, got '{shown(text, 200)}'")
    return found


def whole(text: str) -> int | None:
    """A whole number without sign, in at most 18 digits; None of any other text."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def folders(folder: Path) -> list[str]:
    """Names of the folders in a folder, hidden ones left out, sorted."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if not e.name.startswith(_HIDDEN) and _is_folder(e))


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
    return os.path.splitext(entry.name)[1].lower() in SUFFIXES and not _is_folder(entry)  # noqa: PTH122


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself; whoever reads it says so
        return False
