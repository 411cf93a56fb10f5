"""Which settings of a run are taken over on another machine."""

from pathlib import Path
from typing import Any

from macnn.config.resolve import read_toml
from macnn.errors import UsageError
from macnn.runs.identity import made_here, read_status
from macnn.text import shown

OF_THE_MACHINE = frozenset(
    {
        *("data.root", "data.cache", "data.workers", "data.allow_links"),
        *("data.batch_size", "model.weights"),
        *("run.output", "run.device", "run.threads"),
        *("run.compile", "run.kernels", "run.process_timeout", "run.tensorboard"),
    }
)


def portable(values: dict[str, Any]) -> dict[str, Any]:
    """Settings by dotted path without paths, devices, processes and permissions."""
    return {path: value for path, value in values.items() if path not in OF_THE_MACHINE}


def read_settings(run: Path) -> tuple[str, dict[str, Any]]:
    """The settings of a run folder by dotted path, and a name for them: see `resolve`.

    Those of a run that was made on another machine are only the `portable` ones.

    Raises:
        UsageError: it is no run folder, or its config.toml cannot be read.
    """
    status = read_status(run)
    if status is None:
        raise UsageError(
            f"{shown(run)}: not a run folder of macnn", hint="name the folder of a training"
        )
    values = read_toml(run / "config.toml")
    return str(run / "config.toml"), values if made_here(status) else portable(values)
