"""Work on many images at once, in bounded memory: decoding releases Python's lock."""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Condition
from typing import TypeVar

from macnn.data.images import Admit

S = TypeVar("S")
T = TypeVar("T")
AHEAD = 32  # results that may wait for whoever takes them
BUDGET = 2**30  # bytes that all items in work, and their results, may take together


def mapped(function: Callable[[S, Admit], T], items: Iterable[S]) -> Iterator[T]:
    """`function` of every item, in order, on one thread per core.

    Its second argument is to be called with the bytes it is about to allocate, and blocks until
    `BUDGET` has room for them. They count until the result is taken.
    """
    waiting: deque[Future[T]] = deque()
    budget = _Budget()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for number, item in enumerate(items):
                waiting.append(pool.submit(function, item, partial(budget.take, number)))
                if len(waiting) == AHEAD:
                    yield waiting.popleft().result()
                    budget.next()
            while waiting:
                yield waiting.popleft().result()
                budget.next()
        finally:
            for future in waiting:
                future.cancel()
            budget.close()


class _Budget:
    """Memory in use by all items, at most `BUDGET` bytes and one item more.

    The item whose result is next never waits, so there is no deadlock.
    """

    def __init__(self) -> None:
        self._change = Condition()
        self._taken: Counter[int] = Counter()
        self._turn: float = 0

    def take(self, number: int, size: int) -> None:
        with self._change:
            self._change.wait_for(
                lambda: number <= self._turn or self._taken.total() + size <= BUDGET
            )
            self._taken[number] += size

    def next(self) -> None:
        with self._change:
            del self._taken[int(self._turn)]
            self._turn += 1
            self._change.notify_all()

    def close(self) -> None:
        with self._change:
            self._turn = float("inf")
            self._change.notify_all()
