"""Checkpoints: a folder of safetensors and JSON, whole or not there at all.

    step-N/checkpoint.json     kind, step, network, classes, settings
    step-N/<name>.safetensors  named tensors
    step-N/manifest.json       SHA-256 and size of every other file, and of this list
    latest                     the name of the newest one, written last

A checkpoint is written to a temporary folder, synced to disk, then renamed.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from macnn.config.resolve import flatten
from macnn.errors import CheckpointError, DiskError
from macnn.files import sync, write_json, write_text

Kind = Literal["parts", "macnn", "baseline"]
FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint read back: what it is, and how to get at its tensors.

    folder: the checkpoint's own folder. run: the run folder it belongs to.
    """

    folder: Path
    kind: Kind
    step: int
    network: dict[str, Any]
    class_names: tuple[str, ...]
    settings: dict[str, Any]

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


def write_checkpoint(
    checkpoints: Path,
    kind: Kind,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    *,
    network: Mapping[str, Any],
    class_names: tuple[str, ...],
    settings: Mapping[str, Any],
) -> Path:
    """Write `checkpoints`/step-N and point `latest` at it.

    Raises:
        DiskError: the disk is full or the folder cannot be written; nothing is left behind.
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
    }
    try:
        temporary.mkdir(parents=True)
        for name, group in tensors.items():
            contiguous = {key: value.detach().contiguous() for key, value in group.items()}
            save_file(contiguous, temporary / f"{name}.safetensors")
        write_json(temporary / "checkpoint.json", content)
        files = {
            file.name: {"sha256": _sha256(file), "bytes": file.stat().st_size}
            for file in sorted(temporary.iterdir())
        }
        write_json(temporary / "manifest.json", {"files": files, "sha256": _seal(files)})
        for file in (*temporary.iterdir(), temporary):
            sync(file)
        if final.exists():
            shutil.rmtree(final)
        temporary.rename(final)
        write_text(checkpoints / "latest", final.name)
        sync(checkpoints)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise DiskError(f"{final}: cannot be written ({error})") from None
    return final


def read_checkpoint(path: Path, *kinds: Kind) -> Checkpoint:
    """Find and verify a checkpoint.

    Args:
        path: a run folder (its latest checkpoint), or a checkpoint's own folder.
        kinds: the kinds that serve here; none means all.

    Raises:
        CheckpointError: there is none, it is damaged, or of another kind.
    """
    folder = _locate(path)
    manifest = _json(folder / "manifest.json")
    files = manifest.get("files")
    if not isinstance(files, dict) or manifest.get("sha256") != _seal(files):
        raise CheckpointError(f"{folder / 'manifest.json'}: damaged", hint="use another checkpoint")
    for name, expected in files.items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != expected["bytes"]:
            raise CheckpointError(f"{file}: missing or truncated", hint="use another checkpoint")
        if _sha256(file) != expected["sha256"]:
            raise CheckpointError(f"{file}: damaged (SHA-256)", hint="use another checkpoint")
    content = _json(folder / "checkpoint.json")
    if content.get("format") != FORMAT or content.get("kind") not in get_args(Kind):
        raise CheckpointError(f"{folder}: not a checkpoint of this version of macnn")
    if kinds and content["kind"] not in kinds:
        raise CheckpointError(
            f"{folder}: a '{content['kind']}' checkpoint, expected {' or '.join(kinds)}",
            hint="'macnn pretrain-parts' writes parts, 'macnn train' macnn or baseline",
        )
    return Checkpoint(
        folder=folder,
        kind=content["kind"],
        step=content["step"],
        network=content["network"],
        class_names=tuple(content["class_names"]),
        settings=content["settings"],
    )


def _locate(path: Path) -> Path:
    for checkpoints in (path / "checkpoints", path):
        latest = checkpoints / "latest"
        if latest.is_file():
            return checkpoints / latest.read_text(encoding="utf-8").strip()
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


def _seal(files: dict[str, Any]) -> str:
    """SHA-256 of the list of files, so that a damaged list is noticed too."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
