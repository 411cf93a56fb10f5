"""A CSV file that lists images wherever they are: the way out for every other layout."""

import csv
import io
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from macnn.data.layouts.files import whole
from macnn.data.layouts.folders import SPLIT_NAMES
from macnn.data.layouts.layout import Layout, assemble
from macnn.data.layouts.limits import IMAGES, LINE
from macnn.data.samples import ImageSet, Sample, Split
from macnn.errors import DataError
from macnn.reading import LIST_BYTES, read_bytes
from macnn.text import shown

COLUMNS = ("path", "label", "split")
TREE = """\
birds.csv               named itself, or by the folder that holds it
    path,label,split    a header; more columns do no harm
    a/1.jpg,wren,train  path: below the folder of the file, or absolute; label: any text
    b/2.jpg,robin,test  split: train, val (or valid, validation), test; without the column
                        images are divided into training and test images by a seed
"""


def recognise(root: Path) -> str | None:
    """A CSV file, or a folder with one that has a column `path`."""
    if root.is_file():
        return "it is a CSV file" if root.suffix.lower() == ".csv" else None
    found = _manifests(root)
    return f"{shown(found[0].name)} has a column 'path'" if found else None


def read_manifest(root: Path) -> ImageSet:
    """Read a manifest; labels are sorted, as numbers where all of them are.

    Raises:
        DataError: no manifest or several, a missing column, an incomplete line, an unknown split,
            a class without training images.
    """
    file = _locate(root)
    rows = _rows(file)
    labels = {label for _, label, _ in rows}
    numbers = all(whole(label) is not None for label in labels)
    names = sorted(labels, key=int if numbers else None)
    index = {name: label for label, name in enumerate(names)}
    samples = [Sample(file.parent / path, index[name], split) for path, name, split in rows]
    return assemble(
        "manifest",
        file.parent,
        samples,
        [shown(name) for name in names],
        notes=_gaps(names) if numbers else (),
    )


def _manifests(folder: Path) -> list[Path]:
    return [f for f in sorted(folder.glob("*.csv")) if f.is_file() and "path" in _header(f)]


def _locate(root: Path) -> Path:
    if root.is_file():
        return root
    found = _manifests(root)
    if not found:
        raise DataError(
            f"{shown(root)}: no CSV file with a column 'path'",
            hint=f"a manifest has the columns {','.join(COLUMNS)}",
        )
    if len(found) > 1:
        names = ", ".join(shown(file.name) for file in found)
        raise DataError(f"{shown(root)}: holds several manifests ({names})", hint="name one")
    return found[0]


def _header(file: Path) -> list[str]:
    """The names of its columns; none if nothing can be made of them: any CSV file may lie there."""
    try:
        with file.open("rb") as stream:
            return next(_table(file, stream.read(4 * LINE)), (0, []))[1]
    except (OSError, DataError):
        return []


def _rows(file: Path) -> list[tuple[str, str, Split]]:
    table = _table(file, read_bytes(file, DataError, limit=LIST_BYTES))
    _, header = next(table, (0, []))
    for column in ("path", "label"):
        if column not in header:
            raise DataError(
                f"{shown(file)}: no column '{column}'",
                hint=f"its header is '{shown(','.join(header), 200)}', expected path,label,split",
            )
    places = {name: place for place, name in enumerate(header) if name in COLUMNS}
    rows: list[tuple[str, str, Split]] = []
    for line, cells in table:
        where = f"{shown(file)}:{line}"
        if len(rows) == IMAGES:
            raise DataError(f"{where}: more than {IMAGES:,} images")
        row = {name: cells[place] for name, place in places.items() if place < len(cells)}
        if not row.get("path") or not row.get("label"):
            raise DataError(f"{where}: a line needs a path and a label")
        split = row.get("split", "").lower() if "split" in places else "train"
        if split not in SPLIT_NAMES:
            raise DataError(
                f"{where}: split '{shown(split, 200)}' is unknown", hint="use train, val or test"
            )
        rows.append((row["path"], row["label"], SPLIT_NAMES[split]))
    return rows


def _table(file: Path, content: bytes) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file that are not blank, each with the number of its last line.

    Raises:
        DataError: one is longer than `LINE`, as after a quotation mark that never ends.
    """
    stream = io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", "surrogateescape", newline="")
    left = LINE

    def lines() -> Iterator[str]:
        nonlocal left
        while line := stream.readline(left + 1):
            left -= len(line)
            if left < 0:
                raise csv.Error(f"more than {LINE:,} characters")
            yield line

    reader = csv.reader(lines())
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
            left = LINE
            if reader.line_num > 2 * IMAGES:
                raise csv.Error("more lines than images")
    except csv.Error as error:
        raise DataError(
            f"{shown(file)}:{reader.line_num}: not a readable row ({error})",
            hint="is a quotation mark missing?",
        ) from None


def _gaps(names: list[str]) -> list[str]:
    """A note on numbers that are missing among labels that are numbers."""
    gaps = [f"{a} and {b}" for a, b in pairwise(names) if int(b) - int(a) > 1]
    return [f"labels have gaps, as between {gaps[0]}"] if gaps else []


MANIFEST = Layout("manifest", "CSV manifest", TREE, recognise, read_manifest)
