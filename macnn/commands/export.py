"""What stands behind `export`: a checkpoint in, a folder for others to use out."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from macnn.errors import DiskError, ExportError, UsageError
from macnn.events import Listener, Notice
from macnn.files import whole_folder, write_json, write_text
from macnn.inference.card import model_card
from macnn.inference.description import DESCRIPTION, FormatName, describe
from macnn.inference.formats import FORMATS
from macnn.inference.parity import Parity, compare
from macnn.inference.recogniser import open_recogniser
from macnn.reading import Document, read_json, sha256
from macnn.runs.checkpoint import Checkpoint
from macnn.text import shown
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
    replaced = _replaced(output, overwrite)
    original = open_recogniser(checkpoint)
    try:
        with whole_folder(output, replaced=replaced) as folder:
            with backend.selected("reference"):
                listen(Notice("info", f"Writing {form.file}"))
                form.write(open_recogniser(checkpoint), folder / form.file)
                description = describe(checkpoint, original, folder / form.file, name)
                write_json(folder / DESCRIPTION, description)
                listen(Notice("info", "Running it beside the original"))
                parity = compare(form.run(folder), original, original.image_size)
            _check_parity(name, parity, tolerance)
            description["parity"] = {**asdict(parity), "tolerance": tolerance}
            write_text(folder / CARD, model_card(checkpoint, description))
            description["card_sha256"] = sha256(folder / CARD, DiskError)
            write_json(folder / DESCRIPTION, description)
    except OSError as error:
        raise DiskError(f"{output}: cannot be written ({error})") from None
    return description


class _Written(Document):
    """What model.json says about the files beside it."""

    file: str
    sha256: str
    card_sha256: str


def _replaced(output: Path, overwrite: bool) -> list[str]:
    """Names of the files that may be replaced: all of an export that nobody has touched since."""
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output}: is a file", hint="`output` takes a folder")
    found = {entry.name for entry in output.iterdir()} if output.is_dir() else set()
    if not found:
        return []
    if not overwrite:
        raise UsageError(f"{output}: not empty", hint="pass `overwrite`, or another `output`")
    if DESCRIPTION not in found:
        raise UsageError(f"{output}: not an export of macnn", hint="pass another `output`")
    hint = "only a folder that is as it was exported is replaced; pass another `output`"
    written = read_json(output / DESCRIPTION, _Written, UsageError, hint=hint)
    if others := found - {DESCRIPTION, CARD, written.file}:
        raise UsageError(f"{output}: holds other files ({shown(min(others))})", hint=hint)
    for name, digest in ((CARD, written.card_sha256), (written.file, written.sha256)):
        if name in found and sha256(output / name, UsageError) != digest:
            raise UsageError(f"{output / name}: not as it was exported", hint=hint)
    return sorted(found)


def _check_parity(name: str, parity: Parity, tolerance: float) -> None:
    if not parity.logits <= tolerance:
        raise ExportError(
            f"{name}: logits of the exported model are up to {parity.logits:.2g} off the "
            f"original's, more than {tolerance:g}",
            hint="use another `format`, or accept it with a larger `tolerance`",
        )
