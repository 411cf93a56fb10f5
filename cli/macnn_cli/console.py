"""What a person reads: results on stdout, progress and notices on stderr."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from macnn import events

FIRST = os.environ.get("RANK", "0") == "0"  # of several processes, one speaks
out = Console(soft_wrap=True, quiet=not FIRST)
err = Console(stderr=True, soft_wrap=True)


@contextmanager
def listening(quiet: bool) -> Iterator[events.Listener]:
    """Render events while inside: bars on a terminal, one line per finished task off it."""
    if quiet or not FIRST:
        yield _warnings if FIRST else events.silent
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[figures]}"),
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
                err.print(event.text, highlight=False, markup=False)
        elif isinstance(event, events.Progress):
            self._progress(event)

    def _progress(self, event: events.Progress) -> None:
        figures = "  ".join(f"{name} {value:.3g}" for name, value in event.figures.items())
        if event.task not in self.tasks or event.done == 0:
            self.tasks[event.task] = self.bars.add_task(
                event.task, total=event.total, figures=figures
            )
        self.bars.update(self.tasks[event.task], completed=event.done, figures=figures)
        if self.bars.disable and event.done == event.total:
            err.print(f"{event.task}: {event.total} done  {figures}", highlight=False, markup=False)


def _warnings(event: events.Event) -> None:
    if isinstance(event, events.Notice) and event.level == "warning":
        err.print(f"warning: {event.text}", style="yellow", highlight=False, markup=False)


def print_json(content: Any) -> None:
    """Print exactly one JSON object."""
    if FIRST:
        sys.stdout.write(json.dumps(content, indent=2, allow_nan=False) + "\n")


def print_line(text: str) -> None:
    """Print a line as it is: a path stays in one piece, to be copied."""
    out.print(text, highlight=False, markup=False)


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table: the first column is text, the others are figures."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for position, column in enumerate(columns):
        justify: Literal["left", "right"] = "left" if position == 0 else "right"
        table.add_column(column, justify=justify, overflow="fold")  # a path is never cut short
    for row in rows:
        table.add_row(*row)
    out.print(table, soft_wrap=False)


def number(value: float | None, style: str) -> str:
    """A figure, or a dash."""
    return "-" if value is None else format(value, style)


def percent(share: float | None) -> str:
    """A share as a percentage, or a dash."""
    return "-" if share is None else f"{100 * share:.1f} %"
