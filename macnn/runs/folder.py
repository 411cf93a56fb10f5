"""The folder of a run, while it is written: settings, environment, metrics, summary, status.

Of several processes the first one writes; to the others a folder is there to read.
"""

import csv
import io
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from macnn import distributed
from macnn.config import Settings
from macnn.config.write import to_toml
from macnn.errors import CheckpointError, DiskError, PreemptedError, UsageError
from macnn.events import Event, Metrics
from macnn.files import (
    append_text,
    clear_leftovers,
    cut,
    discard_files,
    discard_tree,
    move_files,
    new_id,
    temporaries,
    temporary_path,
    write_bytes,
    write_json,
    write_text,
)
from macnn.reading import read_bytes
from macnn.runs.checkpoint import Checkpoint, rewind
from macnn.runs.contents import (
    METRICS,
    own_files,
    refuse_links,
    refuse_others_in_checkpoints,
    step_folders,
)
from macnn.runs.environment import environment
from macnn.runs.identity import ENVIRONMENT, STATUS, State, Status, machine, read_status
from macnn.runs.metrics import read_metrics
from macnn.stop import Stopped
from macnn.text import csv_cell, shown


class RunFolder:
    """Records a run. As a context manager it marks how the run ended.

    run_id: the identifier that the files of the run have in common.
    """

    def __init__(
        self,
        path: Path,
        settings: Settings,
        class_names: tuple[str, ...],
        *,
        overwrite: bool,
        resume: Checkpoint | None = None,
    ) -> None:
        """Create the folder, or resume the run in it, and write what is known before the start.

        Args:
            path: where.
            settings: of the run.
            class_names: of the data.
            overwrite: replace the run that the folder holds. Its files are set aside, and deleted
                at the first checkpoint of this one; other files stay.
            resume: its checkpoint to resume from; `rewind` deletes what came later.

        Raises:
            UsageError: `check_output` refuses the folder, or a checkpoint's holds other files.
            DiskError: it cannot be written, or a link in it leads elsewhere.
        """
        self.path = path
        self.writes = distributed.rank() == 0
        self.run_id = ""
        self._replaces: str | None = None  # the identifier of the run set aside
        self._aside: Path | None = None
        distributed.barrier()  # until all processes have looked at what is there
        if self.writes:
            if resume is None:
                check_output(path, overwrite)
            refuse_links(path)
            refuse_others_in_checkpoints(path)
            with self._writing(path):
                if resume is None:
                    self._begin()
                else:
                    self._go_on(resume)
                # Next after the status: together they identify the folder.
                self._write_json(ENVIRONMENT, {"run": self.run_id, **environment()})
                if resume is None:
                    self._write_json("sources.json", settings.sources)
                self._write_json("classes.json", list(class_names))
                write_text(path / "config.toml", to_toml(settings), owner=self.run_id)
                self._status("running")
        distributed.barrier()
        if not self.writes:
            status = read_status(path)
            self.run_id = status.run if status else new_id()

    def _begin(self) -> None:
        """Make the folder, or set aside the files of the run it holds."""
        before = read_status(self.path)
        self.run_id = new_id()
        self.path.mkdir(parents=True, exist_ok=True)
        if before is None:
            self._status("running")
            leftovers = [entry.name for entry in temporaries(self.path) if entry.is_file()]
            discard_files(self.path, leftovers)
            return
        self._replaces = before.run
        self._clear_leftovers(before, self.checkpoints, self.report)
        kept = temporaries(self.path, before.replaces) if before.replaces else []
        if not any(entry.is_dir() for entry in kept) and not step_folders(self.checkpoints):
            self._status("running")  # nothing to lose
            self._discard_own()
            self._clear_leftovers(before, self.path)
            return
        self._aside = temporary_path(self.path, before.run)
        self._aside.mkdir()
        for name in (STATUS, ENVIRONMENT):
            write_bytes(self._aside / name, read_bytes(self.path / name, CheckpointError))
        self._status("running")
        left = [entry for entry in temporaries(self.path, before.run) if entry != self._aside]
        names = [*self._own_files(), *(entry.name for entry in (*kept, *left))]
        move_files(names, self.path, self._aside)

    def _go_on(self, resume: Checkpoint) -> None:
        """Delete what a killed process was writing."""
        self.run_id = resume.run_id
        if status := read_status(self.path):
            self._clear_leftovers(status, self.path, self.checkpoints, self.report)

    def _clear_leftovers(self, status: Status, *folders: Path) -> None:
        for owner in filter(None, (status.run, status.replaces)):
            for folder in folders:
                clear_leftovers(folder, owner)

    def rewind(self, resume: Checkpoint) -> None:
        """Delete what is later than the checkpoint that the run goes on from.

        Raises:
            DataError: metrics.jsonl is damaged, which would stop the run when it is done.
            DiskError: the folder cannot be written.
        """
        if self.writes:
            with self._writing(self.path):
                rewind(resume)
                if self._metrics.exists():
                    cut(self._metrics, resume.progress.metrics_bytes if resume.progress else 0)
            self.metrics()

    def settle(self) -> None:
        """Delete what was set aside: this run has a checkpoint now."""
        if self._aside is not None:
            discard_tree(self._aside)
        if self._replaces is not None:
            self._aside = self._replaces = None
            self._status("running")

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
                if self._aside is not None:
                    self._restore()
                else:
                    why = str(error) or type(error).__name__
                    self._status("stopped" if stopped else "failed", shown(why))

    def _restore(self) -> None:
        """Put back what was set aside: this run failed before its first checkpoint."""
        assert self._aside is not None
        aside, self._aside = self._aside, None
        self._discard_own()
        left = [entry.name for entry in temporaries(aside)]
        move_files([*own_files(aside), *left], aside, self.path)
        discard_tree(aside)

    def _discard_own(self) -> None:
        for name in self._own_files():
            discard_files((self.path / name).parent, [Path(name).name])

    def _own_files(self) -> list[str]:
        """All but the files that identify the folder, which are only ever replaced."""
        return [name for name in own_files(self.path) if name not in (STATUS, ENVIRONMENT)]

    @contextmanager
    def _writing(self, what: Path) -> Iterator[None]:
        """Raise a DiskError that names the file or folder when it cannot be written."""
        try:
            yield
        except OSError as error:
            if self._aside is not None and what == self.path:
                self._restore()
            raise DiskError(f"{what}: cannot be written ({error})") from None

    @property
    def _metrics(self) -> Path:
        return self.path / METRICS

    @property
    def metrics_bytes(self) -> int:
        """Length of the record of metrics, to cut it back to on resuming."""
        return self._metrics.stat().st_size if self._metrics.exists() else 0

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
            figures = {n: v if math.isfinite(v) else None for n, v in event.values.items()}
            row = {"phase": event.phase, "step": event.step, **figures}
            with self._writing(self._metrics):
                append_text(self._metrics, json.dumps(row) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """All metrics recorded so far."""
        return read_metrics(self._metrics)

    def finish(self, summary: dict[str, Any]) -> None:
        """Write metrics.csv and summary.json, and mark the run as done."""
        if not self.writes:
            return
        rows = self.metrics()
        columns = list(dict.fromkeys(key for row in rows for key in row))
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(map(csv_cell, columns))
        writer.writerows([_cell(row.get(column, "")) for column in columns] for row in rows)
        with self._writing(self.path):
            write_text(self.path / "metrics.csv", table.getvalue(), owner=self.run_id)
            self._write_json("summary.json", summary)
            self._status("done")

    def _status(self, state: State, reason: str | None = None) -> None:
        status = {
            "run": self.run_id,
            "replaces": self._replaces,
            "machine": machine(self.run_id),
            "state": state,
            "reason": reason,
        }
        self._write_json(STATUS, status)

    def _write_json(self, name: str, content: object) -> None:
        # If killed before the new status is there, the folder is the old run's.
        write_json(self.path / name, content, owner=self._replaces or self.run_id)


def _cell(value: object) -> object:
    return csv_cell(value) if isinstance(value, str) else value


def check_output(path: Path | None, overwrite: bool) -> Path:
    """Check that a run may write to `path`, without touching it.

    Raises:
        UsageError: no path, a file in the way, or a non-empty folder that is not a run's or that
            may not be overwritten.
    """
    if path is None:
        raise UsageError("no run folder given", hint="pass `run.output`")
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path}: is a file", hint="`run.output` takes a folder")
    # A process killed at its first write leaves a temporary file alone.
    if path.is_dir() and set(path.iterdir()) - set(temporaries(path)):
        status = read_status(path)
        if status is None:
            raise UsageError(f"{path}: not a run folder of macnn", hint="pass another `run.output`")
        came_to_nothing = status.state in ("failed", "stopped")
        if not overwrite and not (came_to_nothing and not step_folders(path / "checkpoints")):
            raise UsageError(
                f"{path}: not empty",
                hint="`resume=auto` goes on with it, `overwrite` replaces it; or pass another "
                "`run.output`",
            )
    return path
