"""metrics.jsonl: a row per phase and validation, as they were measured."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from macnn.errors import DataError
from macnn.ranges import Count, Figure, Name
from macnn.reading import misfit, read_bytes
from macnn.text import shown

METRICS_BYTES, LINE_BYTES, VALUES = 32 * 2**20, 64 * 2**10, 1_000_000
ASIDE = "put it elsewhere to go on without it"


class _Row(BaseModel):
    """A line: a phase, a step, and any figures."""

    model_config = ConfigDict(strict=True, extra="allow")
    __pydantic_extra__: dict[str, Figure | None]

    phase: Name
    step: Count


_ROW = TypeAdapter(_Row)


def read_metrics(file: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl: "phase", "step" and figures by name; none without the file.

    Raises:
        DataError: it is damaged.
    """
    if not file.exists():
        return []
    content = read_bytes(file, DataError, limit=METRICS_BYTES, hint=ASIDE)
    if content.count(b",") > VALUES:
        raise DataError(f"{shown(file)}: more than {VALUES:,} values", hint=ASIDE)
    return [_read(line, f"{shown(file)}:{i}") for i, line in enumerate(content.splitlines(), 1)]


def _read(line: bytes, where: str) -> dict[str, Any]:
    if len(line) > LINE_BYTES:
        raise DataError(f"{where}: longer than {LINE_BYTES:,} bytes", hint=ASIDE)
    try:
        return _ROW.validate_json(line).model_dump()
    except ValidationError as problem:
        raise DataError(f"{where}: damaged ({misfit(problem)})", hint=ASIDE) from None
