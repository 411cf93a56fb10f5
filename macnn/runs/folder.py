"""The folder of a run: settings, environment, metrics, summary, status, checkpoints, pictures.

config.toml env.json classes.json metrics.jsonl metrics.csv summary.json status.json
checkpoints/step-N/ report/
"""

import csv
import json
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from macnn import __version__
from macnn.config import Settings
from macnn.config.write import to_toml
from macnn.errors import DiskError, UsageError
from macnn.events import Event, Metrics
from macnn.files import write_json, write_text


class RunFolder:
    """Records a run. As a context manager it marks the run as failed when it ends in an error."""

    def __init__(
        self, path: Path, settings: Settings, class_names: tuple[str, ...], *, overwrite: bool
    ) -> None:
        """Create the folder and write what is known before the run.

        Raises:
            UsageError: `check_output` refuses the folder.
            DiskError: the folder cannot be written.
        """
        check_output(path, overwrite)
        self.path = path
        try:
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True, exist_ok=True)
            write_text(path / "config.toml", to_toml(settings))
            write_json(path / "env.json", environment())
            write_json(path / "classes.json", list(class_names))
            self._status("running")
        except OSError as error:
            raise DiskError(f"{path}: cannot be written ({error})") from None

    def __enter__(self) -> "RunFolder":
        """Start recording."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        """Mark the run as failed after an error, and say why."""
        if error is not None:
            self._status("failed", error=str(error) or type(error).__name__)

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints go."""
        return self.path / "checkpoints"

    @property
    def report(self) -> Path:
        """Where pictures and pages go."""
        return self.path / "report"

    def record(self, event: Event) -> None:
        """Append metrics to metrics.jsonl; other events are not kept."""
        if isinstance(event, Metrics):
            row = {"phase": event.phase, "step": event.step, **event.values}
            with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """All metrics recorded so far."""
        file = self.path / "metrics.jsonl"
        if not file.exists():
            return []
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]

    def finish(self, summary: dict[str, Any]) -> None:
        """Write metrics.csv and summary.json, and mark the run as done."""
        rows = self.metrics()
        columns = list(dict.fromkeys(key for row in rows for key in row))
        with (self.path / "metrics.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows(rows)
        write_json(self.path / "summary.json", summary)
        self._status("done")

    def _status(self, state: str, **more: str) -> None:
        write_text(self.path / "status.json", json.dumps({"state": state, **more}) + "\n")


def check_output(path: Path | None, overwrite: bool) -> Path:
    """Check that a run may write to `path`, without touching it.

    Raises:
        UsageError: no path, a file in the way, or a non-empty folder that is not a run's or that
            `overwrite` does not give up.
    """
    if path is None:
        raise UsageError("no run folder given", hint="pass --output DIR")
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path}: is a file", hint="--output takes a folder")
    if path.is_dir() and any(path.iterdir()):
        if not overwrite:
            raise UsageError(f"{path}: not empty", hint="pass --overwrite, or another --output")
        if not (path / "status.json").is_file():
            raise UsageError(f"{path}: not a run folder of macnn", hint="pass another --output")
    return path


def environment() -> dict[str, Any]:
    """What a run depends on beside its settings: versions, machine, command, commit."""
    versions = {}
    for package in ("torch", "torchvision", "triton", "safetensors", "numpy", "pillow"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "macnn": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "command": sys.argv,
        "commit": _commit(),
    }


def _commit() -> str | None:
    """The commit of the checkout this package is imported from, if it is one."""
    folder = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
