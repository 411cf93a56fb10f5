"""Which images a run trains on: recorded in its folder, so that testing on one is noticed.

Splits drawn by seed depend on all images of the folder: one more or less, and others are held out.
"""

import hashlib
import os
from pathlib import Path

from pydantic import Field

from macnn.data.samples import ImageSet
from macnn.errors import CheckpointError, DataError, DiskError
from macnn.events import Listener, Notice
from macnn.files import write_json
from macnn.reading import Document, read_json
from macnn.text import shown

FILE = "images.json"


class _Note(Document):
    """images.json."""

    trained: int = Field(ge=0)
    sha256: str


def note_images(run: Path, images: ImageSet, *, owner: str = "") -> None:
    """Record in the folder of run `owner` which images of a data set are trained on.

    Raises:
        DiskError: it cannot be written.
    """
    try:
        write_json(run / FILE, _trained_on(images).model_dump(), owner=owner)
    except OSError as error:
        raise DiskError(f"{run / FILE}: cannot be written ({error})") from None


def check_same_images(run: Path, images: ImageSet) -> None:
    """Check before a run is resumed that its training images are the same.

    Raises:
        DataError: it trained on other images.
        CheckpointError: the record is damaged.
    """
    if changed := _changed(run, images):
        raise DataError(
            f"{shown(images.root)}: other training images than {run} began with ({changed})",
            hint="bring them back, or start a new run",
        )


def warn_of_other_images(run: Path, images: ImageSet, listen: Listener) -> None:
    """Warn before a measurement if the training images have changed.

    Raises:
        CheckpointError: the record is damaged.
    """
    if changed := _changed(run, images):
        message = (
            f"{shown(images.root)}: other training images than {run} was trained on ({changed}); "
            "where splits are drawn by seed, some of those measured now were trained on"
        )
        listen(Notice("warning", message))


def _changed(run: Path, images: ImageSet) -> str | None:
    """How many there were and are, if they differ; None without a record."""
    if not os.path.lexists(run / FILE):
        return None
    hint = "delete it to go on without the check it serves"
    before, now = read_json(run / FILE, _Note, CheckpointError, hint=hint), _trained_on(images)
    return None if before == now else f"{before.trained:,} then, {now.trained:,} now"


def _trained_on(images: ImageSet) -> _Note:
    digest = hashlib.sha256()
    samples = images.split("train").samples
    for sample in samples:
        name = os.path.relpath(sample.path, images.root)
        digest.update(f"{sample.label} {name}\n".encode(errors="surrogateescape"))
    return _Note(trained=len(samples), sha256=digest.hexdigest())
