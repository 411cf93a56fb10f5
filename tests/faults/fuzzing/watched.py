"""The command line in a process of its own, within bounds of time and memory."""

import os
import resource
import signal
import sys
import time
import traceback
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from macnn.training.train_step import TrainStep
from macnn_cli import main

SECONDS, BYTES = 20, 1.5e9  # that an input may take
BUG = 1


def child(arguments, *, stop=None):
    """Run the command line in a process of its own, in the current folder, within bounds."""
    with TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("out", "err")]
        began, most, late = time.monotonic(), 0, False
        process = os.fork()
        if process == 0:
            _command(arguments, files, stop)
        while True:
            done, status, usage = os.wait4(process, os.WNOHANG)
            if done:
                break
            late = time.monotonic() - began > SECONDS
            most = max(most, _resident(process))
            if late or most > BYTES:
                os.killpg(process, signal.SIGKILL)
                done, status, usage = os.wait4(process, 0)
                break
            time.sleep(0.005)
        out, err = (file.read_bytes().decode("utf-8", "replace") for file in files)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": time.monotonic() - began,
        "bytes": max(most, usage.ru_maxrss * 1024),
        "late": late,
        "out": out,
        "err": err,
    }


def _resident(process):
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def _command(arguments, files, stop):
    """In the child: as `macnn` on a shell. Does not return."""
    os.setsid()
    for descriptor, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ["HOME"] = str(Path.cwd())
    sys.stdout, sys.stderr = (os.fdopen(n, "w", encoding="utf-8") for n in (1, 2))
    code = BUG
    try:
        sys.argv = ["macnn", *map(str, arguments)]
        torch.set_num_threads(1)  # its pool of threads did not come along
        with bounded(stop):
            main.run()
    except SystemExit as left:
        code = left.code or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextmanager
def bounded(stop):
    """A training is asked to stop after some steps; nothing starts many processes."""
    update, start, taken, started = TrainStep.update, BaseProcess.start, [], []

    def updating(self, optimiser):
        update(self, optimiser)
        taken.append(1)
        if len(taken) == stop:
            signal.raise_signal(signal.SIGTERM)

    def starting(self):
        started.append(1)
        assert len(started) < 9, "starts more and more processes"
        start(self)

    TrainStep.update, BaseProcess.start = updating, starting
    try:
        yield
    finally:
        TrainStep.update, BaseProcess.start = update, start
