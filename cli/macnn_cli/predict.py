"""`macnn predict`: name what is on pictures, and where the parts are."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from macnn.events import Notice, Progress
from macnn_cli.console import CsvRows, JsonLines, listening, print_table
from macnn_cli.options import QUIET, Given, takes_settings

if TYPE_CHECKING:
    from macnn.inference.results import Prediction

STDIN = "-"
Row = list[str | list[str]]  # of a table: a cell is text, or several lines


@takes_settings(
    *("data.workers", "run.device", "run.threads", "run.kernels"), also=("run.deterministic",)
)
def predict(
    *,
    given: Given,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Pictures, folders of pictures, or '-' for a list on stdin, one per line.",
        ),
    ],
    checkpoint: Annotated[
        Path,
        typer.Option(
            "--checkpoint",
            help="Run folder, one of its checkpoints/step-N, or a safetensors export.",
        ),
    ],
    top: Annotated[
        int, typer.Option("--top", min=1, help="Classes to name per picture, best first.")
    ] = 1,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Pictures at a time.")
    ] = 16,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per picture and line.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    overlays: Annotated[
        Path | None,
        typer.Option("--save-overlays", help="Folder for every picture with its parts drawn in."),
    ] = None,
    quiet: QUIET = False,
) -> None:
    """Name the classes of pictures, with probabilities and the boxes of the parts.

    A box is a square around the centre of its part, 96/448 of the network input wide as the
    paper's, in pixels of the picture. A picture that cannot be read is named and skipped; the exit
    code is then 3.
    """
    from macnn.errors import DataError, UsageError
    from macnn.inference.loading import load
    from macnn.inference.overlay import OverlayFolder
    from macnn.inference.pictures import find_pictures
    from macnn.inference.results import Prediction
    from macnn.runs.setup import prepare

    if json and as_csv:
        raise UsageError("--json and --csv exclude each other")
    settings = given.resolve().settings
    device = prepare(settings)
    pictures = find_pictures(_listed(paths))
    model = load(checkpoint, device=device)
    drawn = OverlayFolder(overlays) if overlays else None
    rows: list[Row] = []
    show = _printer(json, as_csv, rows)

    failed = 0
    start = perf_counter()
    with listening(quiet) as listen:
        results = model.stream(
            pictures, top=top, batch_size=batch_size, workers=settings.data.workers
        )
        for done, result in enumerate(results, start=1):
            if isinstance(result, Prediction):
                show(result)
                if drawn:
                    drawn.add(result)
            else:
                failed += 1
                listen(Notice("warning", result.problem))
            listen(Progress("Predicting", done, len(pictures)))
        seconds = perf_counter() - start
        listen(
            Notice(
                "info",
                f"{len(pictures) - failed} of {len(pictures)} predicted in {seconds:.1f} s on "
                f"{device}: {len(pictures) / seconds:.1f} pictures per second",
            )
        )
    if not json and not as_csv:
        columns = ["picture", "class", "probability", "part: x y width height"]
        print_table("Predictions", columns, rows)
    if failed:
        raise DataError(f"{failed} of {len(pictures)} pictures could not be read, as named above")


def _printer(json: bool, as_csv: bool, rows: list[Row]) -> Callable[["Prediction"], None]:
    """What prints a prediction as soon as it is known, or keeps it as a row of a table."""
    if json:
        lines = JsonLines()
        return lambda prediction: lines.write(prediction.as_json())
    if not as_csv:
        return lambda prediction: rows.append(_table_row(prediction))
    table = CsvRows()
    header: list[str] = []

    def write(prediction: "Prediction") -> None:
        row = dict(_columns(prediction))
        if not header:
            header.extend(row)
            table.write(header)
        table.write(row.values())

    return write


def _table_row(prediction: "Prediction") -> Row:
    classes = prediction.classes
    boxes = [f"{b.x:.0f} {b.y:.0f} {b.width:.0f} {b.height:.0f}" for b in prediction.parts]
    return [
        prediction.source or "",
        [score.name for score in classes],
        [f"{100 * score.probability:.1f} %" for score in classes],
        [f"{number}: {box}" for number, box in enumerate(boxes, start=1)],
    ]


def _columns(prediction: "Prediction") -> Iterator[tuple[str, str | float | None]]:
    row = prediction.as_json()
    yield "source", row["source"]
    for rank, score in enumerate(row["classes"], start=1):
        yield f"class_{rank}", score["name"]
        yield f"probability_{rank}", score["probability"]
    for box in row["parts"]:
        for side in ("x", "y", "width", "height"):
            yield f"part_{box['part']}_{side}", box[side]


def _listed(paths: list[str]) -> Iterator[Path]:
    """The paths given, with the lines of stdin in the place of '-'.

    Raises:
        DataError: a path that was typed and is not there; one of a list is left to be skipped.
    """
    from macnn.errors import DataError

    for path in paths:
        if path != STDIN:
            if not os.path.lexists(path):
                raise DataError(
                    f"{path}: no such file or folder", hint="name pictures, or a folder"
                )
            yield Path(path)
            continue
        for line in sys.stdin.buffer:
            if name := os.fsdecode(line).rstrip("\r\n"):
                yield Path(name)
