"""Resuming a run that was stopped."""

import grp
import os
import pwd
import stat
from pathlib import Path
from typing import Any

from macnn.config import Settings
from macnn.errors import CheckpointError, UsageError
from macnn.events import Listener, Notice
from macnn.runs.checkpoint import Checkpoint, Kind, read_checkpoint
from macnn.runs.contents import step_folders
from macnn.runs.identity import STATUS, read_status
from macnn.text import shown

AUTO = "auto"
FREE = {"data.root", "data.workers"}  # beside run.*: what may change on the way
FIXED = {"run.seed", "run.precision"}


def find_resume(wanted: str | None, output: Path | None, *kinds: Kind) -> Checkpoint | None:
    """The checkpoint to resume from; None to start a new run.

    Args:
        wanted: None for a new run, "auto" for the newest checkpoint of the run folder `output` if
            it has one, else a run folder or a checkpoint's folder.
        output: the run folder.
        kinds: kinds of checkpoint to resume from.

    Raises:
        UsageError: "auto" without a run folder.
        CheckpointError: it is missing, damaged, of another kind, or not in the folder of its run.
    """
    if wanted is None:
        return None
    if wanted == AUTO:
        if output is None:
            raise UsageError("`resume=auto` needs a run folder", hint="pass `run.output`")
        if not step_folders(output / "checkpoints"):
            return None
    found = read_checkpoint(output if wanted == AUTO and output else Path(wanted), *kinds)
    status = read_status(found.run)
    if found.progress is None and not (status and status.state == "done"):
        if wanted == AUTO:  # killed between its last checkpoint and its end
            return None
        raise CheckpointError(f"{shown(found.folder)}: holds no training to go on with")
    return found


def warn_if_others_may_write(run: Path, listen: Listener) -> None:
    """Warn before a run is resumed whose files other users may have changed."""
    for path in (run, run / "checkpoints", run / STATUS):
        found = path.stat()
        others = found.st_mode & stat.S_IWOTH or found.st_uid not in (0, os.getuid())
        if others or (found.st_mode & stat.S_IWGRP and _shared(found.st_gid)):
            message = (
                f"{shown(path)}: other users may write here, and so decide how the run goes on"
            )
            listen(Notice("warning", message))
            return


def _shared(group: int) -> bool:
    """Whether a group has members beside this user, whose own one it is on many systems."""
    try:
        own = grp.getgrgid(group)
        me = pwd.getpwuid(os.getuid())
    except KeyError:
        return True
    return group != me.pw_gid or any(name != me.pw_name for name in own.gr_mem)


def check_output_is(run: Path, output: Path | None) -> None:
    """Check that a run is resumed in its own folder.

    Raises:
        UsageError: another one is asked for.
    """
    if output is not None and output.resolve() != run.resolve():
        raise UsageError(
            f"`run.output={output}`: `resume` goes on in {run}", hint="leave `run.output` out"
        )


def check_unchanged(checkpoint: Checkpoint, settings: Settings) -> None:
    """Check that a run is resumed with the settings it began with.

    Raises:
        UsageError: one that decides the outcome differs.
    """
    now: dict[str, Any] = settings.model_dump(mode="json")
    for section, values in checkpoint.settings.model_dump(mode="json").items():
        for key, before in values.items():
            path = f"{section}.{key}"
            free = path in FREE or (section == "run" and path not in FIXED)
            if not free and now[section][key] != before:
                raise UsageError(
                    f"`{path}={now[section][key]}`: the run began with {before}",
                    hint="leave it out to go on, or start a new run",
                )
