"""Work on many images at once: decoding releases Python's lock."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")
AHEAD = 32  # results that may wait for whoever takes them


def mapped(function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """`function` of every item, in order, on one thread per core."""
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) == AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
