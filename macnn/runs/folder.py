"""The folder of a run: settings, environment, metrics, summary, status, checkpoints, pictures.

config.toml sources.json env.json classes.json images.json metrics.jsonl metrics.csv summary.json
status.json checkpoints/step-N/ report/

Of several processes the first one writes; to the others a folder is there to read.
"""

import csv
import io
import json
import os
import platform
import shutil
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from macnn import __version__, world
from macnn.config import Settings
from macnn.config.write import to_toml
from macnn.errors import DiskError, PreemptedError, UsageError
from macnn.events import Event, Metrics
from macnn.files import write_json, write_text
from macnn.runs.checkpoint import Checkpoint, rewind
from macnn.stop import Stopped

STATUS = "status.json"


class RunFolder:
    """Records a run. As a context manager it marks how the run ended."""

    def __init__(
        self,
        path: Path,
        settings: Settings,
        class_names: tuple[str, ...],
        *,
        overwrite: bool,
        resume: Checkpoint | None = None,
    ) -> None:
        """Create the folder and write what is known before the run, or go on with one.

        Args:
            path: where.
            settings: of the run.
            class_names: of the data.
            overwrite: give up what the folder holds.
            resume: its checkpoint to go on from; what came later is deleted.

        Raises:
            UsageError: `check_output` refuses the folder.
            DiskError: it cannot be written.
        """
        self.path = path
        self.writes = world.rank() == 0
        world.barrier()  # until all processes have looked at what is there
        if self.writes:
            if resume is None:
                check_output(path, overwrite)
            try:
                if resume is None:
                    self._begin()
                    write_json(path / "sources.json", settings.sources)
                else:
                    self._clear_leftovers()
                    rewind(resume)
                    if self._metrics.exists():
                        os.truncate(self._metrics, resume.progress["metrics_bytes"])
                write_text(path / "config.toml", to_toml(settings))
                write_json(path / "env.json", environment())
                write_json(path / "classes.json", list(class_names))
                self._status("running")
            except OSError as error:
                raise DiskError(f"{path}: cannot be written ({error})") from None
        world.barrier()

    def _begin(self) -> None:
        """Make or empty the folder. The status comes first: it tells the folder from others."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._status("running")
        for entry in list(self.path.iterdir()):
            if entry.name != STATUS:
                _delete(entry)

    def _clear_leftovers(self) -> None:
        """Delete what a killed process was writing: all of it has a name that begins with a dot."""
        for leftover in list(self.path.rglob(".*")):
            _delete(leftover)

    def __enter__(self) -> "RunFolder":
        """Start recording."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        """Mark the run as stopped or failed after an error, and say why."""
        if error is not None and self.writes:
            stopped = isinstance(error, (PreemptedError, Stopped, KeyboardInterrupt))
            with suppress(OSError):  # a full disk must not hide what happened
                self._status("stopped" if stopped else "failed", str(error) or type(error).__name__)

    @property
    def _metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def metrics_bytes(self) -> int:
        """Length of the record of metrics, to cut it back to on resuming."""
        return self._metrics.stat().st_size if self._metrics.exists() else 0

    @property
    def scratch(self) -> Path:
        """Where a phase may keep what it deletes again."""
        return self.path / ".scratch"

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
        if isinstance(event, Metrics) and self.writes:
            row = {"phase": event.phase, "step": event.step, **event.values}
            try:
                with self._metrics.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(row) + "\n")
            except OSError as error:
                raise DiskError(f"{self._metrics}: cannot be written ({error})") from None

    def metrics(self) -> list[dict[str, Any]]:
        """All metrics recorded so far."""
        if not self._metrics.exists():
            return []
        lines = self._metrics.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def finish(self, summary: dict[str, Any]) -> None:
        """Write metrics.csv and summary.json, and mark the run as done."""
        if not self.writes:
            return
        rows = self.metrics()
        columns = list(dict.fromkeys(key for row in rows for key in row))
        table = io.StringIO()
        writer = csv.DictWriter(table, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        try:
            write_text(self.path / "metrics.csv", table.getvalue())
            write_json(self.path / "summary.json", summary)
            self._status("done")
        except OSError as error:
            raise DiskError(f"{self.path}: cannot be written ({error})") from None

    def _status(self, state: str, reason: str | None = None) -> None:
        write_json(self.path / STATUS, {"state": state, "reason": reason})


def _delete(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)


def finished_summary(path: Path) -> dict[str, Any] | None:
    """The summary of a run that is done, else None."""
    if _state(path) != "done":
        return None
    try:
        summary: dict[str, Any] = json.loads((path / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return summary


def _state(path: Path) -> str | None:
    """How a run stands, if its folder says so."""
    try:
        state: str = json.loads((path / STATUS).read_text(encoding="utf-8"))["state"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return state


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
    # A process killed at its first write leaves a temporary status alone.
    if path.is_dir() and any(not f.name.startswith(f".{STATUS}.") for f in path.iterdir()):
        if not (path / STATUS).is_file():
            raise UsageError(f"{path}: not a run folder of macnn", hint="pass another --output")
        if not overwrite and not _came_to_nothing(path):
            raise UsageError(
                f"{path}: not empty",
                hint="--resume auto goes on with it, --overwrite gives it up; or pass another "
                "--output",
            )
    return path


def _came_to_nothing(run: Path) -> bool:
    """Whether a run ended before its first checkpoint: there is nothing to lose."""
    return _state(run) in ("failed", "stopped") and not (run / "checkpoints" / "latest").exists()


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
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
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
