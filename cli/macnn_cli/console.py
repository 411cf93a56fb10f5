"""What a person reads: results on stdout, progress and notices on stderr.

All that commands print goes through this module. Text may hold names from files: it is made
printable, each on its line, and never read as rich's markup. Style comes beside it, not in it.
"""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any, Literal, TypeVar

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from macnn import events
from macnn.text import csv_cell, shown
from macnn_cli.wording import as_typed

T = TypeVar("T")
Styled = tuple[str, str]  # text, and its style

FIRST = os.environ.get("RANK", "0") == "0"  # of several processes, one speaks
LONGEST = 10_000  # characters of a line: longer than any path
out = Console(soft_wrap=True, quiet=not FIRST)
err = Console(stderr=True, soft_wrap=True)


def take_any_character() -> None:
    """Have characters that stdout's encoding lacks printed as escapes, as stderr does."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@contextmanager
def listening(quiet: bool) -> Iterator[events.Listener]:
    """Render events while inside: bars on a terminal, one line per finished task off it."""
    if quiet or not FIRST:
        yield _warnings if FIRST else events.silent
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[figures]}", markup=False),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as bars:
        yield _Renderer(bars).hear


class _Renderer:
    """Turns events into bars, notices and lines."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}

    def hear(self, event: events.Event) -> None:
        if isinstance(event, events.Notice):
            _warnings(event)
            if event.level == "info":
                err.print(_line(as_typed(event.text)))
        elif isinstance(event, events.Progress):
            self._progress(event)

    def _progress(self, event: events.Progress) -> None:
        figures = shown("  ".join(f"{name} {value:.3g}" for name, value in event.figures.items()))
        if event.task not in self.tasks or event.done == 0:
            self.tasks[event.task] = self.bars.add_task(
                shown(event.task), total=event.total, figures=figures
            )
        self.bars.update(self.tasks[event.task], completed=event.done, figures=figures)
        if self.bars.disable and event.done == event.total:
            err.print(_line(f"{event.task}: {event.total} done  {figures}"))


def _warnings(event: events.Event) -> None:
    if isinstance(event, events.Notice) and event.level == "warning":
        err.print(_line(f"warning: {as_typed(event.text)}"), style="yellow")


def complain(text: str) -> None:
    """Print why a command ends, on one line of stderr."""
    err.print(_line("macnn: " + " ".join(map(str.strip, as_typed(text).split("\n")))))


def print_json(content: Any) -> None:
    """Print exactly one JSON object."""
    if FIRST:
        sys.stdout.write(json.dumps(content, indent=2, allow_nan=False) + "\n")


def print_result(content: T, json: bool, show: Callable[[T], None]) -> None:
    """Print what a command found: as one JSON object, or as `show` does for people."""
    if json:
        print_json(content)
    else:
        show(content)


class JsonLines:
    """One JSON object per line. It keeps the stdout it finds: a bar would divert it to stderr."""

    def __init__(self) -> None:
        self._stream = sys.stdout

    def write(self, content: Any) -> None:
        """Print one object."""
        self._stream.write(json.dumps(content, allow_nan=False) + "\n")


class CsvRows:
    """Rows of comma-separated values, on the stdout it finds, as `JsonLines`."""

    def __init__(self) -> None:
        self._writer = csv.writer(sys.stdout, lineterminator="\n")

    def write(self, row: Iterable[str | float | None]) -> None:
        """Print one row; no text in it is a formula to a spreadsheet."""
        self._writer.writerow(csv_cell(v) if isinstance(v, str) else v for v in row)


def print_line(*parts: str | Styled) -> None:
    """Print a line, of one or several parts; a path stays in one piece, to be copied."""
    out.print(_line(*parts))


def print_paragraph(text: str) -> None:
    """Print text as wide as the terminal, indented."""
    out.print(Padding(_line(text), (0, 0, 0, 4), expand=False), soft_wrap=False)


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str | Sequence[str]]]
) -> None:
    """Print a table: the first column is text, the others are figures.

    A cell is text on one line, or several lines.
    """
    table = Table(title=_line((title, "bold")), title_justify="left")
    for position, column in enumerate(columns):
        justify: Literal["left", "right"] = "left" if position == 0 else "right"
        table.add_column(_line(column), justify=justify, overflow="fold")  # no path is cut short
    for row in rows:
        table.add_row(*(_line(v) if isinstance(v, str) else _lines(v) for v in row))
    out.print(table, soft_wrap=False)


def _line(*parts: str | Styled) -> Text:
    pairs = [(part, "") if isinstance(part, str) else part for part in parts]
    return Text.assemble(*((shown(text, LONGEST), style) for text, style in pairs))


def _lines(texts: Sequence[str]) -> Text:
    return Text("\n").join(map(_line, texts))


def number(value: float | None, style: str) -> str:
    """A figure, or a dash."""
    return "-" if value is None else format(value, style)


def percent(share: float | None) -> str:
    """A share as a percentage, or a dash."""
    return "-" if share is None else f"{100 * share:.1f} %"
