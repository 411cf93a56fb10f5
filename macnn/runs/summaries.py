"""summary.json: what a run that is done says of itself, by the command that wrote it."""

from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from macnn.errors import CheckpointError, MacnnError
from macnn.reading import Document, read_json
from macnn.runs.identity import read_status


class Summary(Document):
    """What every summary has; what else it holds is passed on."""

    model_config = ConfigDict(extra="allow")

    checkpoint: str


class PartsSummary(Summary):
    """Of `pretrain-parts`."""

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
    """Of `train`."""

    rounds: int


def finished_summary(run: Path, form: type[Summary]) -> dict[str, Any] | None:
    """The summary of a run that is done, else None; one that does not fit the form is none."""
    status = read_status(run)
    if status is None or status.state != "done":
        return None
    try:
        return read_json(run / "summary.json", form, CheckpointError).model_dump(exclude_unset=True)
    except MacnnError:
        return None
