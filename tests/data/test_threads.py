import subprocess
import sys
from threading import Lock
from time import sleep

import pytest
from PIL import Image

from macnn.data import threads
from macnn.data.threads import mapped


@pytest.fixture
def held(monkeypatch):
    """Gives a function for `mapped`, and how many bytes it held at most, results included."""
    monkeypatch.setattr(threads, "BUDGET", 1_000)
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 16)
    now, most, lock = [0], [0], Lock()

    def work(size, admit):
        for part in (size // 2, size - size // 2):  # as a file, and then its pixels
            admit(part)
            with lock:
                now[0] += part
                most[0] = max(most[0], now[0])
        sleep(0.002)
        return size

    def take(result):
        with lock:
            now[0] -= result

    return work, take, most


def test_work_and_waiting_results_stay_within_the_budget_and_one_item(held):
    work, take, most = held
    sizes = [300, 900, 10, 400, 5_000, 20, 700] * 12
    found = []
    for size in mapped(work, sizes):
        sleep(0.001)
        found.append(size)
        take(size)
    assert found == sizes
    assert 5_000 <= most[0] <= 1_000 + 5_000


def test_an_error_and_an_early_end_let_no_thread_wait_for_ever(held):
    work, _, _ = held

    def broken(size, admit):
        if size == 3:
            raise ValueError("three")
        return work(size, admit)

    with pytest.raises(ValueError, match="three"):
        list(mapped(broken, [900, 800, 3, *[600] * 60]))
    results = mapped(work, [900] * 60)
    assert next(results) == 900
    results.close()


MEASURE = """
import os, resource, sys
from pathlib import Path
os.cpu_count = lambda: 12
from macnn.data import threads
from macnn.data.images import decode
threads.BUDGET = 2**28

def shape(file, admit):
    return tuple(decode(file, admit).shape)

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert set(threads.mapped(shape, [Path(sys.argv[1])] * 24)) == {(3, 5000, 5000)}
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_large_pictures_on_many_threads_take_bounded_memory(tmp_path):
    Image.new("1", (5000, 5000)).save(tmp_path / "large.png")  # 175 MB when decoded
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path / "large.png"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert float(done.stdout) < 700
