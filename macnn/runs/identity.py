"""What identifies a run folder: status.json and env.json with the same identifier.

    status.json   run: the identifier; machine: where it last ran; state, reason: how it ended
    env.json      run: the same; and what the run depends on beside its settings

File names alone prove nothing: any folder may hold a status.json.
"""

import hashlib
import os
import platform
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from macnn.errors import CheckpointError, MacnnError
from macnn.files import temporaries
from macnn.reading import Document, read_json

STATUS, ENVIRONMENT = "status.json", "env.json"
RunId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
State = Literal["running", "done", "stopped", "failed"]


class Status(Document):
    """status.json."""

    run: RunId
    replaces: RunId | None = None  # while its files are set aside, or were when it was killed
    machine: str
    state: State
    reason: str | None = Field(max_length=10_000)


class _Marked(Document):
    run: RunId


def read_status(folder: Path) -> Status | None:
    """The status of a run; None if the folder is not that of a run."""
    try:
        status = read_json(folder / STATUS, Status, CheckpointError)
    except MacnnError:
        return None
    return status if _agrees(folder, status) else None


def _agrees(folder: Path, status: Status) -> bool:
    """Whether env.json names the same run; nothing else may be there before it is."""
    if os.path.lexists(folder / ENVIRONMENT):
        try:
            marked = read_json(folder / ENVIRONMENT, _Marked, CheckpointError).run
            return marked in (status.run, status.replaces)
        except MacnnError:
            return False
    return not set(folder.iterdir()) - {folder / STATUS, *temporaries(folder)}


def machine(run: str) -> str:
    """A digest of this machine, user and run, that tells the status of a run made here.

    A run from elsewhere cannot carry it: it depends on /etc/machine-id.
    """
    try:
        name = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        name = ""
    return hashlib.sha256(f"{name or platform.node()} {os.getuid()} {run}".encode()).hexdigest()


def made_here(status: Status | None) -> bool:
    """Whether a run last ran on this machine, for this user."""
    return status is not None and status.machine == machine(status.run)
