"""Events: the library emits them, and never prints.

The command line renders them (rich), the run folder records them (JSONL), a test collects them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units of `task` are finished; `figures` are the latest metrics."""

    task: str
    done: int
    total: int
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Metrics:
    """Metrics to record, at an optimiser `step`, from a `phase` such as "grouping"."""

    phase: str
    step: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Notice:
    """A sentence for the user."""

    level: Literal["info", "warning"]
    text: str


Event = Progress | Metrics | Notice
Listener = Callable[[Event], None]


def silent(event: Event) -> None:
    """Ignore every event."""


def track(items: Iterable[T], task: str, total: int, listen: Listener) -> Iterator[T]:
    """Yield `items`, emitting `Progress` for `task` before the first and after each one."""
    listen(Progress(task, 0, total))
    for done, item in enumerate(items, start=1):
        yield item
        listen(Progress(task, done, total))
