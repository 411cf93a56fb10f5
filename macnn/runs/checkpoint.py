"""Checkpoints: a folder of safetensors and JSON, whole or not there at all.

    step-N/checkpoint.json     run, kind, step, network, classes, settings, progress
    step-N/<name>.safetensors  named tensors: model, and trainer while training goes on
    step-N/manifest.json       SHA-256 and size of every other file, and of this list
    latest                     the name of the newest one, written last
    best                       the name of the one with the best validation accuracy

A checkpoint is written to a temporary folder, synced to disk, then renamed. It is never rewritten.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from macnn.config import Settings
from macnn.config.resolve import flatten
from macnn.errors import CheckpointError, DiskError
from macnn.events import Listener, Notice
from macnn.files import discard_files, sync, whole_folder, write_json, write_text
from macnn.model.specs import LocatorSpec, MACNNSpec, PartCNNSpec, PooledSpec, Spec
from macnn.reading import Document, parse_json, read_bytes, read_json, read_text, sha256
from macnn.runs.contents import POINTERS, checkpoint_files, step_folders, step_number
from macnn.runs.identity import RunId, Status, made_here, read_status
from macnn.runs.portable import portable
from macnn.tensors import read_tensors
from macnn.text import shown

Kind = Literal["statistics", "parts", "macnn", "baseline", "part-cnn"]
FORMAT = 7  # 6 did not say whether parts compete
SPECS: dict[Kind, type[Spec]] = {
    "statistics": LocatorSpec,
    "parts": LocatorSpec,
    "macnn": MACNNSpec,
    "baseline": PooledSpec,
    "part-cnn": PartCNNSpec,
}
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ClassName = Annotated[str, Field(min_length=1, max_length=4096)]
Step = Annotated[int, Field(ge=0, lt=10**18)]


class Progress(Document):
    """How far a run had come: what it goes on from.

    best: highest validation accuracy so far. metrics_bytes: length of metrics.jsonl. trainer: what
    the `state_dict` of whoever trains holds beside tensors.
    """

    best: float | None = None
    metrics_bytes: int = Field(0, ge=0)
    trainer: dict[str, Any]


class _Content(Document):
    """checkpoint.json."""

    format: Literal[7]
    run: RunId
    kind: Kind
    step: Step
    network: Spec
    class_names: tuple[ClassName, ...]
    settings: Settings
    progress: Progress | None

    @model_validator(mode="after")
    def _consistent(self) -> "_Content":
        network, classes = self.network, len(self.class_names)
        if type(network) is not SPECS[self.kind]:
            raise ValueError(f"kind {self.kind} with another kind's network")
        if not isinstance(network, MACNNSpec | PooledSpec):
            return self
        if network.classes != classes:
            raise ValueError(f"{classes} class names for {network.classes} classes")
        return self


class _File(Document):
    sha256: Digest
    bytes: int = Field(ge=0)


class _Manifest(Document):
    """manifest.json."""

    files: dict[str, _File]
    sha256: Digest


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint read back: what it is, and how to get at its tensors.

    folder: the checkpoint's own folder. digests: SHA-256 of its tensor files by name. progress:
    how far the run had come, for it to go on; None when nothing is left to do. made_here: whether
    its run last ran on this machine.
    """

    folder: Path
    kind: Kind
    step: int
    network: Spec
    class_names: tuple[str, ...]
    settings: Settings
    digests: Mapping[str, str]
    progress: Progress | None = None
    run_id: str = ""
    in_run: bool = False
    made_here: bool = False

    @property
    def run(self) -> Path:
        """The run folder, `checkpoints/step-N` of which it is.

        Raises:
            CheckpointError: it lies somewhere else.
        """
        if not self.in_run:
            raise CheckpointError(
                f"{shown(self.folder)}: not in checkpoints/ of its run folder",
                hint="copy the whole run folder, or begin a new run with it as `init`",
            )
        return self.folder.parent.parent

    def layer(self, *sections: str) -> tuple[str, dict[str, Any]]:
        """Its settings in these sections by dotted path, and a name for them: see `resolve`.

        What belongs to a machine (paths, devices, processes) is left out unless it is this one.
        """
        name, values = self.all_settings()
        if not self.made_here:
            values = portable(values)
        return name, {k: v for k, v in values.items() if k.split(".")[0] in sections}

    def say_where_from(self, listen: Listener) -> None:
        """Say so if it was made on another machine, where `layer` leaves settings out."""
        if not self.made_here:
            what = "its data set, devices and processes are not taken from it"
            listen(Notice("info", f"{shown(self.folder)}: made on another machine: {what}"))

    def all_settings(self) -> tuple[str, dict[str, Any]]:
        """As `layer`, of all sections and with all that belongs to the machine."""
        flat = flatten(self.settings.model_dump(mode="json"))
        return str(self.folder), {k: v for k, v in flat.items() if v is not None}

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Read the tensors saved under `name`, "model" or "trainer".

        Raises:
            CheckpointError: they are not those that were verified.
        """
        file = self.folder / f"{name}.safetensors"
        return read_tensors(file, CheckpointError, sha256=self.digests[file.name])


def write_checkpoint(
    checkpoints: Path,
    kind: Kind,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    *,
    run: str,
    network: Spec,
    class_names: tuple[str, ...],
    settings: Settings,
    progress: Progress | None = None,
) -> Path:
    """Write `checkpoints`/step-N of the run with identifier `run`, and point `latest` at it.

    Raises:
        DiskError: the disk is full or the folder cannot be written; what was there stays intact.
    """
    final = checkpoints / f"step-{step}"
    content = {
        "format": FORMAT,
        "run": run,
        "kind": kind,
        "step": step,
        "network": asdict(network),
        "class_names": list(class_names),
        "settings": settings.model_dump(mode="json"),
        "progress": progress and progress.model_dump(),
    }
    try:
        with whole_folder(final, owner=run) as folder:
            _check_space(checkpoints, tensors)
            for name, group in tensors.items():
                contiguous = {key: value.detach().contiguous() for key, value in group.items()}
                save_file(contiguous, folder / f"{name}.safetensors")
            write_json(folder / "checkpoint.json", content)
            files = {
                file.name: {"sha256": sha256(file, DiskError), "bytes": file.stat().st_size}
                for file in sorted(folder.iterdir())
            }
            write_json(folder / "manifest.json", {"files": files, "sha256": _seal(files)})
            for file in folder.iterdir():  # safetensors writes for us alone
                shutil.copymode(folder / "manifest.json", file)
        point(checkpoints, "latest", final, run)
    except (OSError, SafetensorError) as error:
        raise DiskError(f"{final}: cannot be written ({error})") from None
    return final


def point(checkpoints: Path, name: str, folder: Path, run: str) -> None:
    """Let `latest` or `best` name a checkpoint of the run with identifier `run`."""
    write_text(checkpoints / name, folder.name, owner=run)
    sync(checkpoints)


def prune(checkpoints: Path, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints and those that `latest` or `best` name."""
    named = {_pointed(checkpoints / p) for p in POINTERS if (checkpoints / p).is_file()}
    for folder in step_folders(checkpoints)[:-keep]:
        if folder not in named:
            discard_files(folder, checkpoint_files(folder))


def rewind(checkpoint: Checkpoint) -> None:
    """Make a checkpoint the newest one: delete what its run wrote later."""
    checkpoints = checkpoint.run / "checkpoints"
    point(checkpoints, "latest", checkpoint.folder, checkpoint.run_id)
    for folder in step_folders(checkpoints):
        if (step_number(folder.name) or 0) > checkpoint.step:
            discard_files(folder, checkpoint_files(folder))


def read_checkpoint(path: Path, *kinds: Kind) -> Checkpoint:
    """Find and verify a checkpoint.

    Args:
        path: a run folder (its latest checkpoint), its checkpoints/best, or a checkpoint's own
            folder.
        kinds: the kinds that serve here; none means all.

    Raises:
        CheckpointError: there is none, it is damaged (the newest sound one is named then), or of
            another kind.
    """
    folder = _locate(path)
    try:
        content, digests = _verified(folder)
    except CheckpointError as error:
        sound = _newest_sound(folder)
        hint = f"the newest sound one is {shown(sound)}" if sound else "no other one is sound"
        raise CheckpointError(str(error), hint=hint) from None
    if kinds and content.kind not in kinds:
        raise CheckpointError(
            f"{shown(folder)}: a '{content.kind}' checkpoint, expected {' or '.join(kinds)}",
            hint="finding the parts gives 'parts', training 'macnn' or 'baseline', and training on "
            "crops 'part-cnn'",
        )
    status = _status_of_run(folder, content)
    return Checkpoint(
        folder=folder,
        kind=content.kind,
        step=content.step,
        network=content.network,
        class_names=content.class_names,
        settings=content.settings,
        digests=digests,
        progress=content.progress,
        run_id=content.run,
        in_run=status is not None,
        made_here=made_here(status),
    )


def _verified(folder: Path) -> tuple[_Content, dict[str, str]]:
    """The content of checkpoint.json, once every file is as the manifest says; their digests."""
    manifest = read_json(folder / "manifest.json", _Manifest, CheckpointError)
    files = {name: file.model_dump() for name, file in manifest.files.items()}
    if manifest.sha256 != _seal(files):
        raise CheckpointError(f"{shown(folder / 'manifest.json')}: damaged")
    described = read_bytes(folder / "checkpoint.json", CheckpointError)
    if hashlib.sha256(described).hexdigest() != files.get("checkpoint.json", {}).get("sha256"):
        raise CheckpointError(f"{shown(folder / 'checkpoint.json')}: damaged (SHA-256)")
    _check_format(described, folder)
    content = parse_json(described, folder / "checkpoint.json", _Content, CheckpointError)
    expected = {"checkpoint.json", "model.safetensors"}
    expected |= {"trainer.safetensors"} if content.progress else set()
    if set(files) != expected:
        raise CheckpointError(
            f"{shown(folder / 'manifest.json')}: damaged, lists {shown(', '.join(sorted(files)))}, "
            f"expected {', '.join(sorted(expected))}"
        )
    for name, listed in files.items():
        if (size := _size(folder / name)) != listed["bytes"]:
            what = "missing" if size is None else f"{size:,} bytes, expected {listed['bytes']:,}"
            raise CheckpointError(f"{shown(folder / name)}: {what}")
        if sha256(folder / name, CheckpointError) != listed["sha256"]:
            raise CheckpointError(f"{shown(folder / name)}: damaged (SHA-256)")
    return content, {name: file["sha256"] for name, file in files.items()}


class _Format(Document):
    format: int


def _check_format(content: bytes, folder: Path) -> None:
    file = folder / "checkpoint.json"
    if parse_json(content, file, _Format, CheckpointError).format != FORMAT:
        raise CheckpointError(f"{shown(folder)}: not a checkpoint of this version of macnn")


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None


def _status_of_run(folder: Path, content: _Content) -> Status | None:
    """The status of the run whose checkpoint this is, if it lies in that run's folder."""
    checkpoints = folder.parent
    in_place = checkpoints.name == "checkpoints" and step_number(folder.name) == content.step
    if not in_place or folder.is_symlink() or checkpoints.is_symlink():
        return None
    status = read_status(checkpoints.parent)
    return status if status and status.run == content.run else None


def _newest_sound(damaged: Path) -> Path | None:
    for folder in reversed(step_folders(damaged.parent)):
        if folder != damaged:
            with suppress(CheckpointError):
                _verified(folder)
                return folder
    return None


def _locate(path: Path) -> Path:
    """The folder of the checkpoint that a path means, absolute, for its parents to be its own."""
    path = path.resolve() if ".." in path.parts else path.absolute()
    for pointer in (path / "checkpoints" / "latest", path / "latest", path):
        if pointer.name in POINTERS and pointer.is_file():
            return _pointed(pointer)
    for folder in reversed(step_folders(path / "checkpoints")):  # killed before it was pointed at
        return folder
    if (path / "manifest.json").is_file():
        return path
    reason = "holds no checkpoint" if path.is_dir() else "no such folder"
    raise CheckpointError(
        f"{shown(path)}: {reason}", hint="name a run folder, or one of its checkpoints/step-N"
    )


def _pointed(pointer: Path) -> Path:
    """The checkpoint that `latest` or `best` names; it cannot name anything else."""
    name = read_text(pointer, CheckpointError, limit=100).strip()
    if step_number(name) is None:
        raise CheckpointError(
            f"{shown(pointer)}: names '{shown(name)}', expected step-N",
            hint="name one of the checkpoints/step-N yourself",
        )
    return pointer.parent / name


def _check_space(folder: Path, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Find out before writing, and say how much is missing."""
    needed = sum(value.nbytes for group in tensors.values() for value in group.values())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskError(
            f"{folder}: disk full, a checkpoint needs {needed:,} bytes and {free:,} are free",
            hint="free some space, and go on with the run",
        )


def _seal(files: dict[str, Any]) -> str:
    """SHA-256 of the list of files, so that a damaged list is noticed too."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
