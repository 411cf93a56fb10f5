"""Going on with a run that was stopped: `--resume auto|PATH`."""

from pathlib import Path
from typing import Any

from macnn.config import Settings
from macnn.errors import CheckpointError, UsageError
from macnn.runs.checkpoint import Checkpoint, Kind, read_checkpoint

AUTO = "auto"
FREE = {"data.root", "data.workers"}  # beside run.*: what may change on the way
FIXED = {"run.seed", "run.precision"}


def find_resume(wanted: str | None, output: Path | None, *kinds: Kind) -> Checkpoint | None:
    """The checkpoint that a command is to go on from; None to start anew.

    Args:
        wanted: None for a new run, "auto" for the newest checkpoint of the run folder `output` if
            it has one, else a run folder or a checkpoint's folder.
        output: the run folder.
        kinds: kinds of checkpoint the command can go on from.

    Raises:
        UsageError: "auto" without a run folder.
        CheckpointError: it is missing, damaged, or of another kind.
    """
    if wanted is None:
        return None
    if wanted == AUTO:
        if output is None:
            raise UsageError("--resume auto needs a run folder", hint="pass --output DIR")
        if not (output / "checkpoints" / "latest").is_file():
            return None
        return read_checkpoint(output, *kinds)
    found = read_checkpoint(Path(wanted), *kinds)
    if not found.progress:
        raise CheckpointError(f"{found.folder}: holds no training to go on with")
    return found


def check_output_is(run: Path, output: Path | None) -> None:
    """A run goes on in its own folder.

    Raises:
        UsageError: another one is asked for.
    """
    if output is not None and output.resolve() != run.resolve():
        raise UsageError(f"--output {output}: --resume goes on in {run}", hint="leave --output out")


def check_unchanged(checkpoint: Checkpoint, settings: Settings) -> None:
    """A run goes on with the settings it began with.

    Raises:
        UsageError: one that decides the outcome differs.
    """
    now: dict[str, Any] = settings.model_dump(mode="json")
    for section, values in checkpoint.settings.items():
        for key, before in values.items():
            path = f"{section}.{key}"
            free = path in FREE or (section == "run" and path not in FIXED)
            if not free and now[section][key] != before:
                raise UsageError(
                    f"{path} = {now[section][key]}: the run began with {before}",
                    hint="leave it out to go on, or start a new run",
                )
