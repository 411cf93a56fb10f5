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

    def __init__(self, received: int) -> None:
        super().__init__(signal.Signals(received).name)
        self.received = received


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


def check() -> None:
    """Call between batches, in every process equally often.

    Raises:
        Stopped: any of the processes was asked to stop.
    """
    if distributed.any_process(asked()):
        raise Stopped(_received[0] if _received else signal.SIGTERM)


def asked() -> bool:
    """Whether this process was asked to stop."""
    return bool(_received)


def _note(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGINT and signal.SIGINT in _received:
        raise KeyboardInterrupt
    _received.append(number)
