"""The files of a run folder. Anything else in it is the user's, and stays.

config.toml sources.json env.json classes.json images.json
metrics.jsonl metrics.csv summary.json status.json
checkpoints/{latest,best,step-N/...} report/ tensorboard/
"""

import re
from collections.abc import Iterator
from pathlib import Path

from macnn.errors import DiskError, UsageError
from macnn.text import shown

METRICS = "metrics.jsonl"
POINTERS = ("latest", "best")
_TOP = frozenset(
    {
        *("config.toml", "sources.json", "env.json", "classes.json", "images.json"),
        *(METRICS, "metrics.csv", "summary.json", "status.json"),
    }
)
_STEP = re.compile(r"step-(0|[1-9][0-9]{0,17})")
_CHECKPOINT = frozenset(
    {"checkpoint.json", "manifest.json", "model.safetensors", "trainer.safetensors"}
)
_REPORT = re.compile(
    r"(curves|parts)\.png|(parts|confusion)-(train|validation|test)\.png"
    r"|eval-(train|validation|test)\.json|report-(train|validation|test)\.html"
    r"|predictions-(train|validation|test)\.safetensors"
)
_TENSORBOARD = re.compile(r"events\.out\.tfevents\..+")


def step_number(name: str) -> int | None:
    """The step that a checkpoint's folder is named after, None for other names."""
    found = _STEP.fullmatch(name)
    return int(found[1]) if found else None


def step_folders(checkpoints: Path) -> list[Path]:
    """All checkpoints in a folder, oldest first; links are ignored."""
    if not checkpoints.is_dir():
        return []
    numbered = [(step_number(entry.name), entry) for entry in checkpoints.iterdir()]
    real = [(n, f) for n, f in numbered if n is not None and f.is_dir() and not f.is_symlink()]
    return [folder for _, folder in sorted(real)]


def checkpoint_files(folder: Path) -> list[str]:
    """Names of the files that a checkpoint's folder has of it."""
    return sorted(name for name in _CHECKPOINT if (folder / name).is_file())


def own_files(run: Path) -> list[str]:
    """The files that a run wrote, by their paths below its folder."""
    checkpoints = run / "checkpoints"
    found = [
        *(name for name in _TOP if (run / name).is_file()),
        *(f"report/{name}" for name in _matching(run / "report", _REPORT)),
        *(f"tensorboard/{name}" for name in _matching(run / "tensorboard", _TENSORBOARD)),
        *(f"checkpoints/{name}" for name in POINTERS if (checkpoints / name).is_file()),
    ]
    for folder in step_folders(checkpoints):
        found += [f"checkpoints/{folder.name}/{name}" for name in checkpoint_files(folder)]
    return sorted(found)


def refuse_links(run: Path) -> None:
    """Check that no link in a run folder leads what is written, or deleted, elsewhere.

    Raises:
        DiskError: there is one in the place of a file or folder of the run.
    """
    folders = [run / name for name in ("checkpoints", "report", "tensorboard")]
    inside = [entry for folder in folders if folder.is_dir() for entry in folder.iterdir()]
    for path in (*(run / name for name in _TOP), *folders, *inside):
        if path.is_symlink():
            raise DiskError(
                f"{shown(path)}: is a link, which is not written through",
                hint="put the file or folder itself there",
            )
    if (run / METRICS).exists() and (run / METRICS).stat().st_nlink > 1:
        raise DiskError(
            f"{shown(run / METRICS)}: has a second name elsewhere, and is written in place",
            hint="copy the folder, and go on in the copy",
        )


def refuse_others_in_checkpoints(run: Path) -> None:
    """Check that every checkpoint can be deleted whole, for its step to be written again.

    Raises:
        UsageError: one holds another file.
    """
    for folder in step_folders(run / "checkpoints"):
        others = {entry.name for entry in folder.iterdir()} - _CHECKPOINT
        if others and checkpoint_files(folder):
            raise UsageError(
                f"{shown(folder)}: holds other files ({shown(min(others))})",
                hint="move them away",
            )


def _matching(folder: Path, pattern: re.Pattern[str]) -> Iterator[str]:
    for entry in folder.iterdir() if folder.is_dir() else ():
        if pattern.fullmatch(entry.name) and entry.is_file():
            yield entry.name
