"""What a run folder holds that a page shows: figures, metrics, settings, environment."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field

from macnn.bounds import PARTS
from macnn.config import Settings
from macnn.config.resolve import flatten
from macnn.data.samples import Split
from macnn.errors import DataError
from macnn.evaluation.figures import Figures, read_figures
from macnn.evaluation.predictions import Predictions, read_predictions
from macnn.ranges import Many, Name
from macnn.reading import Document, read_json
from macnn.report.charts import LEARNING, STATE
from macnn.runs.contents import METRICS
from macnn.runs.metrics import ASIDE, read_metrics

T = TypeVar("T")

RECORD_BYTES = 2**20  # of env.json and sources.json
PLOTTED = frozenset(
    name + part
    for name in (*LEARNING, *STATE)
    for part in ("", *(f"/part {n}" for n in range(1, PARTS + 1)))
)


@dataclass(frozen=True)
class SettingRow:
    """A setting in force, and where its value came from, None where the run did not record it."""

    path: str
    value: str
    source: str | None


class Environment(Document):
    """env.json: what a run depended on beside its settings, where it is known."""

    macnn: Name | None = None
    python: Name | None = None
    platform: Name | None = None
    packages: dict[Name, Name] = Field({}, max_length=1000)
    gpu: Name | None = None
    command: Many[str] = ()
    commit: Name | None = None


@dataclass(frozen=True)
class Contents:
    """A run and its evaluation on one split.

    Attributes:
        name: of the run folder.
        figures: eval-SPLIT.json.
        predictions: of every image of the split.
        metrics: rows of metrics.jsonl with what is plotted, none for a run that did not train.
        settings: all that were given or have a default.
        environment: env.json, None where it is missing.
    """

    name: str
    figures: Figures
    predictions: Predictions
    metrics: list[dict[str, Any]]
    settings: list[SettingRow]
    environment: Environment | None


def read_contents(run: Path, settings: Settings, split: Split) -> Contents:
    """Read a run folder that was evaluated on `split`; `settings` are those of the run.

    Raises:
        UsageError: it is missing, or was not evaluated.
        DataError: a file of it is damaged.
    """
    values = flatten(settings.model_dump(mode="json", exclude_none=True)).items()
    sources = _record(file, dict[str, str]) if (file := run / "sources.json").exists() else {}
    return Contents(
        name=run.resolve().name,
        figures=read_figures(run, split),
        predictions=read_predictions(run / "report" / f"predictions-{split}.safetensors"),
        metrics=[_plotted(row) for row in read_metrics(run / METRICS)],
        settings=[SettingRow(path, str(value), sources.get(path)) for path, value in values],
        environment=read_environment(run),
    )


def read_environment(run: Path) -> Environment | None:
    """What a run depended on, None where it is not recorded.

    Raises:
        DataError: env.json is damaged.
    """
    file = run / "env.json"
    return _record(file, Environment) if file.exists() else None


def _record(file: Path, form: type[T]) -> T:
    return read_json(file, form, DataError, limit=RECORD_BYTES, hint=ASIDE)


def _plotted(row: dict[str, Any]) -> dict[str, Any]:
    kept = PLOTTED | {"phase", "step"}
    return {name: value for name, value in row.items() if name in kept and value is not None}
