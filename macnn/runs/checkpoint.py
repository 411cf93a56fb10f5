"""Checkpoints: a folder of safetensors and JSON, whole or not there at all.

    step-N/checkpoint.json     kind, step, network, classes, settings, progress
    step-N/<name>.safetensors  named tensors: model, and trainer while training goes on
    step-N/manifest.json       SHA-256 and size of every other file, and of this list
    latest                     the name of the newest one, written last
    best                       the name of the one with the best validation accuracy

A checkpoint is written to a temporary folder, synced to disk, then renamed. It is never rewritten.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from macnn.config.resolve import flatten
from macnn.errors import CheckpointError, DiskError
from macnn.files import sync, write_json, write_text
from macnn.reading import sha256

Kind = Literal["survey", "parts", "macnn", "baseline", "part-cnn"]
FORMAT = 2  # 1 had no progress
POINTERS = ("latest", "best")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint read back: what it is, and how to get at its tensors.

    folder: the checkpoint's own folder. run: the run folder it belongs to.
    progress: how far the run had come, for it to go on; empty when nothing is left to do.
    """

    folder: Path
    kind: Kind
    step: int
    network: dict[str, Any]
    class_names: tuple[str, ...]
    settings: dict[str, Any]
    progress: dict[str, Any]

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.folder.parent.parent

    def layer(self, *sections: str) -> tuple[str, dict[str, Any]]:
        """Its settings in these sections by dotted path, and a name for them: see `resolve`."""
        chosen = {section: self.settings[section] for section in sections}
        return str(self.folder), {k: v for k, v in flatten(chosen).items() if v is not None}

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Read the tensors saved under `name`."""
        return load_file(self.folder / f"{name}.safetensors")

    def all_settings(self) -> tuple[str, dict[str, Any]]:
        """As `layer`, of all sections."""
        return self.layer(*self.settings)


def write_checkpoint(
    checkpoints: Path,
    kind: Kind,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    *,
    network: Mapping[str, Any],
    class_names: tuple[str, ...],
    settings: Mapping[str, Any],
    progress: Mapping[str, Any] | None = None,
) -> Path:
    """Write `checkpoints`/step-N and point `latest` at it.

    Raises:
        DiskError: the disk is full or the folder cannot be written; what was there stays intact.
    """
    final = checkpoints / f"step-{step}"
    temporary = checkpoints / f".step-{step}.{os.getpid()}"
    content = {
        "format": FORMAT,
        "kind": kind,
        "step": step,
        "network": dict(network),
        "class_names": list(class_names),
        "settings": dict(settings),
        "progress": dict(progress or {}),
    }
    try:
        temporary.mkdir(parents=True)
        _check_space(checkpoints, tensors)
        for name, group in tensors.items():
            contiguous = {key: value.detach().contiguous() for key, value in group.items()}
            save_file(contiguous, temporary / f"{name}.safetensors")
        write_json(temporary / "checkpoint.json", content)
        files = {
            file.name: {"sha256": sha256(file, CheckpointError), "bytes": file.stat().st_size}
            for file in sorted(temporary.iterdir())
        }
        write_json(temporary / "manifest.json", {"files": files, "sha256": _seal(files)})
        for file in temporary.iterdir():
            shutil.copymode(temporary / "manifest.json", file)  # safetensors writes for us alone
            sync(file)
        sync(temporary)
        temporary.rename(final)
        point(checkpoints, "latest", final)
    except (OSError, SafetensorError) as error:
        raise DiskError(f"{final}: cannot be written ({error})") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final


def point(checkpoints: Path, name: str, folder: Path) -> None:
    """Let `latest` or `best` name a checkpoint."""
    write_text(checkpoints / name, folder.name)
    sync(checkpoints)


def prune(checkpoints: Path, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints and those that `latest` or `best` name."""
    named = {(checkpoints / p).read_text() for p in POINTERS if (checkpoints / p).is_file()}
    for folder in step_folders(checkpoints)[:-keep]:
        if folder.name not in named:
            shutil.rmtree(folder)


def step_folders(checkpoints: Path) -> list[Path]:
    """All checkpoints, oldest first."""
    folders = [f for f in checkpoints.glob("step-*") if f.name[5:].isdigit()]
    return sorted(folders, key=lambda folder: int(folder.name[5:]))


def rewind(checkpoint: Checkpoint) -> None:
    """Make a checkpoint the newest one: delete what came later."""
    checkpoints = checkpoint.folder.parent
    point(checkpoints, "latest", checkpoint.folder)
    for folder in step_folders(checkpoints):
        if int(folder.name[5:]) > checkpoint.step:
            shutil.rmtree(folder)


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
        content = _verified(folder)
    except CheckpointError as error:
        sound = _newest_sound(folder)
        hint = f"the newest sound one is {sound}" if sound else "no other one is sound"
        raise CheckpointError(str(error), hint=hint) from None
    if kinds and content["kind"] not in kinds:
        raise CheckpointError(
            f"{folder}: a '{content['kind']}' checkpoint, expected {' or '.join(kinds)}",
            hint="'macnn pretrain-parts' writes parts, 'macnn train' macnn or baseline, "
            "'macnn train-part-cnn' part-cnn",
        )
    return Checkpoint(
        folder=folder,
        kind=content["kind"],
        step=content["step"],
        network=content["network"],
        class_names=tuple(content["class_names"]),
        settings=content["settings"],
        progress=content["progress"],
    )


def _verified(folder: Path) -> dict[str, Any]:
    """The content of checkpoint.json, once every file is as the manifest says."""
    manifest = _json(folder / "manifest.json")
    files = manifest.get("files")
    if not isinstance(files, dict) or manifest.get("sha256") != _seal(files):
        raise CheckpointError(f"{folder / 'manifest.json'}: damaged")
    for name, expected in files.items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != expected["bytes"]:
            raise CheckpointError(f"{file}: missing or truncated")
        if sha256(file, CheckpointError) != expected["sha256"]:
            raise CheckpointError(f"{file}: damaged (SHA-256)")
    content = _json(folder / "checkpoint.json")
    if content.get("format") != FORMAT or content.get("kind") not in get_args(Kind):
        raise CheckpointError(f"{folder}: not a checkpoint of this version of macnn")
    return content


def _newest_sound(damaged: Path) -> Path | None:
    for folder in reversed(step_folders(damaged.parent)):
        if folder != damaged:
            with suppress(CheckpointError):
                _verified(folder)
                return folder
    return None


def _locate(path: Path) -> Path:
    for pointer in (path / "checkpoints" / "latest", path / "latest", path):
        if pointer.name in POINTERS and pointer.is_file():
            return pointer.parent / pointer.read_text(encoding="utf-8", errors="replace").strip()
    if (path / "manifest.json").is_file():
        return path
    reason = "holds no checkpoint" if path.is_dir() else "no such folder"
    raise CheckpointError(
        f"{path}: {reason}", hint="name a run folder, or one of its checkpoints/step-N"
    )


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file}: cannot be read ({error})") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{file}: damaged, expected a JSON object")
    return content


def _check_space(folder: Path, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Find out before writing, and say how much is missing."""
    needed = sum(value.nbytes for group in tensors.values() for value in group.values())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskError(
            f"{folder}: disk full, a checkpoint needs {needed:,} bytes and {free:,} are free",
            hint="free some space and continue with --resume auto",
        )


def _seal(files: dict[str, Any]) -> str:
    """SHA-256 of the list of files, so that a damaged list is noticed too."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
