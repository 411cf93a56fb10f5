"""A CSV file that lists images wherever they are: the way out for every other layout."""

import csv
from itertools import pairwise
from pathlib import Path

from macnn.data.layouts.folders import SPLIT_NAMES
from macnn.data.layouts.layout import Layout, assemble
from macnn.data.samples import ImageSet, Sample, Split
from macnn.errors import DataError
from macnn.text import shown

TREE = """\
birds.csv               --data birds.csv, or the folder that holds it
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
    numbers = all(label.isdecimal() for label in labels)
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
            hint="'macnn data layouts' shows what is expected",
        )
    if len(found) > 1:
        names = ", ".join(shown(file.name) for file in found)
        raise DataError(f"{shown(root)}: holds several manifests ({names})", hint="name one")
    return found[0]


def _header(file: Path) -> list[str]:
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        return next(csv.reader(stream), [])


def _rows(file: Path) -> list[tuple[str, str, Split]]:
    header = _header(file)
    for column in ("path", "label"):
        if column not in header:
            raise DataError(
                f"{shown(file)}: no column '{column}'",
                hint=f"its header is '{shown(','.join(header))}', expected path,label,split",
            )
    rows: list[tuple[str, str, Split]] = []
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        reader = csv.DictReader(stream)
        for row in reader:
            where = f"{shown(file)}:{reader.line_num}"
            path, label = row["path"], row["label"]
            if not path or not label:
                raise DataError(f"{where}: a line needs a path and a label")
            split = (row["split"] or "").lower() if "split" in header else "train"
            if split not in SPLIT_NAMES:
                raise DataError(
                    f"{where}: split '{shown(split)}' is unknown", hint="use train, val or test"
                )
            rows.append((path, label, SPLIT_NAMES[split]))
    return rows


def _gaps(names: list[str]) -> list[str]:
    """A note on numbers that are missing among labels that are numbers."""
    gaps = [f"{a} and {b}" for a, b in pairwise(names) if int(b) - int(a) > 1]
    return [f"labels have gaps, as between {gaps[0]}"] if gaps else []


MANIFEST = Layout("manifest", "CSV manifest", TREE, recognise, read_manifest)
