"""summary.json: the results of a finished run, a form for each command."""

from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from macnn.errors import CheckpointError, MacnnError
from macnn.reading import Document, read_json
from macnn.runs.identity import read_status


class Summary(Document):
    """What every summary has; further keys are kept."""

    model_config = ConfigDict(extra="allow")

    checkpoint: str


class PartsSummary(Summary):
    """Of finding the parts."""

    images: int
    cluster_sizes: tuple[int, ...]
    inertia: float
    spread: float
    silhouettes: dict[str, float]
    dead_channels: tuple[int, ...]
    fit_error: float
    picture: str


class TrainingSummary(Summary):
    """Of any training."""

    steps: int
    epochs: int
    seconds_per_epoch: float | None
    data_wait_share: float | None
    validation_accuracy: float | None


class AlternationSummary(TrainingSummary):
    """Of the alternation."""

    rounds: int


def finished_summary(run: Path, form: type[Summary]) -> dict[str, Any] | None:
    """The summary of a finished run; None if it is not finished, or the file malformed."""
    status = read_status(run)
    if status is None or status.state != "done":
        return None
    try:
        return read_json(run / "summary.json", form, CheckpointError).model_dump(exclude_unset=True)
    except MacnnError:
        return None
