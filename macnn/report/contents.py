"""What a run folder holds that a page shows: figures, metrics, settings, environment."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from macnn.config import Settings
from macnn.config.resolve import flatten
from macnn.data.samples import Split
from macnn.errors import DataError, UsageError
from macnn.evaluation.predictions import Predictions, read_predictions


@dataclass(frozen=True)
class SettingRow:
    """A setting in force, and where its value came from, None where the run did not record it."""

    path: str
    value: str
    source: str | None


@dataclass(frozen=True)
class Contents:
    """A run and its evaluation on one split.

    Attributes:
        name: of the run folder.
        figures: eval-SPLIT.json.
        predictions: of every image of the split.
        metrics: rows of metrics.jsonl, none for a run that did not train.
        settings: all that were given or have a default.
        environment: env.json, empty where it is missing.
    """

    name: str
    figures: dict[str, Any]
    predictions: Predictions
    metrics: list[dict[str, Any]]
    settings: list[SettingRow]
    environment: dict[str, Any]


def read_contents(run: Path, settings: Settings, split: Split) -> Contents:
    """Read a run folder that was evaluated on `split`; `settings` are those of the run.

    Raises:
        UsageError: it is missing, or was not evaluated.
        DataError: a file of it is damaged.
    """
    values = flatten(settings.model_dump(mode="json", exclude_none=True)).items()
    sources = _json(run / "sources.json", default={})
    return Contents(
        name=run.resolve().name,
        figures=read_figures(run, split),
        predictions=read_predictions(run / "report" / f"predictions-{split}.safetensors"),
        metrics=_metrics(run / "metrics.jsonl"),
        settings=[SettingRow(path, str(value), sources.get(path)) for path, value in values],
        environment=_json(run / "env.json", default={}),
    )


def read_figures(run: Path, split: Split) -> dict[str, Any]:
    """The figures of the last evaluation of a run on `split`.

    Raises:
        UsageError: the folder is missing, or was not evaluated.
        DataError: they are damaged.
    """
    if not run.is_dir():
        raise UsageError(f"{run}: no such folder", hint="name a run folder")
    file = run / "report" / f"eval-{split}.json"
    if not file.is_file():
        raise UsageError(
            f"{run}: not evaluated on the {split} images",
            hint=f"run 'macnn eval --checkpoint {run} --split {split}'",
        )
    return _json(file)


def _metrics(file: Path) -> list[dict[str, Any]]:
    if not file.is_file():
        return []
    try:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read ({error})") from None


def _json(file: Path, default: dict[str, Any] | None = None) -> dict[str, Any]:
    if default is not None and not file.is_file():
        return default
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read ({error})") from None
    return content
