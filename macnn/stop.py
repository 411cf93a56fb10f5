"""Stopping when asked: SIGTERM or SIGINT let a run save at its next step.

The first signal is only noted; loops over data ask for it between batches. A second SIGINT exits
at once.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from macnn import distributed

_received: list[int] = []


class Stopped(BaseException):
    """Somebody asked the run to stop; whoever holds its state saves it. Not an error."""


@contextmanager
def on_signals() -> Iterator[None]:
    """Note SIGTERM and SIGINT while inside instead of dying of them."""
    _received.clear()
    before = {number: signal.signal(number, _note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def requested() -> bool:
    """Whether any process was asked to stop. Called in every process equally often."""
    return distributed.any_process(bool(_received))


def received() -> signal.Signals:
    """The first signal that asked this process to stop; SIGTERM where another was asked."""
    return signal.Signals(_received[0] if _received else signal.SIGTERM)


def _note(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGINT and signal.SIGINT in _received:
        raise KeyboardInterrupt
    _received.append(number)
