"""The stage behind `macnn export`: a checkpoint in, a folder for others to use out."""

import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from macnn.errors import DiskError, ExportError, UsageError
from macnn.events import Listener, Notice
from macnn.files import sync, write_json, write_text
from macnn.inference.card import model_card
from macnn.inference.description import DESCRIPTION, describe
from macnn.inference.formats import FORMATS, FormatName
from macnn.inference.parity import Parity, compare
from macnn.inference.recogniser import open_recogniser
from macnn.runs.checkpoint import Checkpoint
from macnn_kernels import backend

CARD = "README.md"


def export(
    checkpoint: Checkpoint,
    output: Path,
    name: FormatName,
    *,
    tolerance: float,
    overwrite: bool,
    listen: Listener,
) -> dict[str, Any]:
    """Export a checkpoint; returns what is also in its model.json.

    The folder holds the model in its format, `model.json` with class names and preprocessing, and
    a model card. The exported file is run beside the original before the folder gets its name.

    Raises:
        UsageError: the folder is in use, or a package is missing; nothing has been written then.
        CheckpointError: the checkpoint holds no classifier.
        ExportError: exported and original differ by more than `tolerance`; nothing is left behind.
        DiskError: the folder cannot be written; nothing is left behind.
    """
    form = FORMATS[name]
    form.check()
    _check_output(output, overwrite)
    original = open_recogniser(checkpoint)
    temporary = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        temporary.mkdir(parents=True)
        with backend.selected("reference"):
            listen(Notice("info", f"Writing {form.file}"))
            form.write(open_recogniser(checkpoint), temporary / form.file)
            description = describe(checkpoint, original, temporary / form.file, name)
            write_json(temporary / DESCRIPTION, description)
            listen(Notice("info", "Running it beside the original"))
            parity = compare(form.run(temporary), original, original.image_size)
        _check_parity(name, parity, tolerance)
        description["parity"] = {**asdict(parity), "tolerance": tolerance}
        write_json(temporary / DESCRIPTION, description)
        write_text(temporary / CARD, model_card(checkpoint, description))
        for file in (*temporary.iterdir(), temporary):
            sync(file)
        if output.exists():
            shutil.rmtree(output)
        temporary.rename(output)
        sync(output.parent)
    except OSError as error:
        raise DiskError(f"{output}: cannot be written ({error})") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return description


def _check_output(output: Path, overwrite: bool) -> None:
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output}: is a file", hint="--output takes a folder")
    if output.is_dir() and any(output.iterdir()):
        if not overwrite:
            raise UsageError(f"{output}: not empty", hint="pass --overwrite, or another --output")
        if not (output / DESCRIPTION).is_file():
            raise UsageError(f"{output}: not an export of macnn", hint="pass another --output")


def _check_parity(name: str, parity: Parity, tolerance: float) -> None:
    if not parity.logits <= tolerance:
        raise ExportError(
            f"{name}: logits of the exported model are up to {parity.logits:.2g} off the "
            f"original's, more than {tolerance:g}",
            hint="use another --format, or accept it with a larger --tolerance",
        )
