"""Which images a run trains on: noted in its folder, so that none is tested on unnoticed.

Splits drawn by seed depend on all images of the folder: one more or less, and others are held out.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from macnn.data.samples import ImageSet
from macnn.errors import CheckpointError, DataError, DiskError
from macnn.events import Listener, Notice
from macnn.files import write_json
from macnn.text import shown

FILE = "images.json"


def note_images(run: Path, images: ImageSet) -> None:
    """Write down in a run folder which images of a data set are trained on.

    Raises:
        DiskError: it cannot be written.
    """
    try:
        write_json(run / FILE, _trained_on(images))
    except OSError as error:
        raise DiskError(f"{run / FILE}: cannot be written ({error})") from None


def check_same_images(run: Path, images: ImageSet) -> None:
    """Check before a run goes on: what it noted of an image must still be of that image.

    Raises:
        DataError: it trained on other images.
        CheckpointError: the note is damaged.
    """
    if changed := _changed(run, images):
        raise DataError(
            f"{shown(images.root)}: other training images than {run} began with ({changed})",
            hint="bring them back, or start a new run",
        )


def warn_of_other_images(run: Path, images: ImageSet, listen: Listener) -> None:
    """Warn before a measurement if the images of training are others by now.

    Raises:
        CheckpointError: the note is damaged.
    """
    if changed := _changed(run, images):
        message = (
            f"{shown(images.root)}: other training images than {run} was trained on ({changed}); "
            "where splits are drawn by seed, some of those measured now were trained on"
        )
        listen(Notice("warning", message))


def _changed(run: Path, images: ImageSet) -> str | None:
    """How many there were and are, if they differ; a run that noted nothing is taken as it is."""
    if not (run / FILE).is_file():
        return None
    now = _trained_on(images)
    try:
        before = json.loads((run / FILE).read_text(encoding="utf-8"))
        return None if before == now else f"{before['trained']:,} then, {now['trained']:,} now"
    except (OSError, ValueError, KeyError, TypeError):
        raise CheckpointError(
            f"{run / FILE}: damaged", hint="delete it to go on without the check it serves"
        ) from None


def _trained_on(images: ImageSet) -> dict[str, Any]:
    digest = hashlib.sha256()
    samples = images.split("train").samples
    for sample in samples:
        name = os.path.relpath(sample.path, images.root)
        digest.update(f"{sample.label} {name}\n".encode())
    return {"trained": len(samples), "sha256": digest.hexdigest()}
