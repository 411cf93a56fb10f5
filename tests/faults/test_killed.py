"""Killed, terminated, out of space: what is on disk stays whole, and the run goes on from it."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from macnn.runs.checkpoint import read_checkpoint


def temporaries(run):
    return [f for f in run.rglob(".*") if f.name != ".gitignore"]


def test_after_a_kill_at_any_moment_the_next_start_loads(
    start, command_line, content, training, report, tmp_path
):
    kills, loaded, finished = int(os.environ.get("MACNN_TEST_KILLS", "200")), 0, 0
    draw = random.Random(0)
    run = tmp_path / "killed"
    training(tmp_path / "whole", {"run.save_every": 1})
    expected = content(tmp_path / "whole")
    for _ in range(kills):
        process = start("command", {}, *command_line(run, "--save-every", 1, "--quiet"))
        process.join(draw.uniform(0.0, 2.0))
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        if (run / "checkpoints" / "latest").exists():
            read_checkpoint(run)
        loaded += 1
        if process.exitcode == 0:
            assert content(run) == expected
            assert not temporaries(run)
            shutil.rmtree(run)
            finished += 1
        else:
            assert process.exitcode == -signal.SIGKILL
    report(f"{loaded} of {kills} starts loaded, {finished} runs ended with the same bytes")
    last = start("command", {}, *command_line(run, "--save-every", 1, "--quiet"))
    last.join()
    assert last.exitcode == 0
    assert content(run) == expected
    assert not temporaries(run)


def test_terminated_at_any_moment_a_training_has_saved(start, command_line, report, tmp_path):
    """SIGTERM to the whole group, loader processes included, over the length of a run."""
    line = ("--save-every", 1, "--quiet", "--workers", 2)
    whole = start("command", {}, *command_line(tmp_path / "whole", *line))
    ready(tmp_path / "whole")
    began = time.monotonic()
    whole.join()
    length = time.monotonic() - began
    assert whole.exitcode == 0
    draw, saved = random.Random(0), 0
    for attempt in range(80):
        run = tmp_path / f"run-{attempt}"
        process = start("command", {}, *command_line(run, *line))
        ready(run)
        process.join(draw.uniform(0, length))
        terminate(process)
        process.join()
        if done(run):
            continue  # before the signal, or while the process ended
        assert process.exitcode == 75
        read_checkpoint(run, "macnn")
        assert not temporaries(run)
        saved += 1
        if saved == 20:
            break
    report(f"{saved} of 20 terminated runs saved")
    assert saved == 20


def test_terminated_while_finding_parts_or_evaluating(start, flags, parts, tmp_path):
    for moment in range(4):
        run = tmp_path / f"parts-{moment}"
        process = start(
            "command", {}, "pretrain-parts", "--data", flags["data.root"], "--output", run, "-q",
            "--batch-size", 1, "--img-size", 32, "--threads", 1,
        )  # fmt: skip
        ready(run)
        process.join(0.05 * moment)
        terminate(process)
        process.join()
        assert process.exitcode == 75
        assert read_checkpoint(run).kind == "statistics"
    codes = []
    for moment in range(1, 12):  # some too early to have begun, some too late to be stopped
        shutil.rmtree(parts / "report", ignore_errors=True)
        process = start("command", {}, "eval", "--checkpoint", parts, "-q", "--batch-size", 1)
        process.join(0.2 * moment)
        terminate(process)
        process.join()
        codes.append(process.exitcode)
        if process.exitcode:
            assert process.exitcode in (75, -signal.SIGTERM)
            assert not (parts / "report" / "eval-test.json").exists()
        else:
            break
    assert 75 in codes


def ready(run):
    """Wait until a run folder says that the run is on its way."""
    for _ in range(1200):
        if (run / "status.json").exists():
            return
        time.sleep(0.05)
    pytest.fail(f"{run}: no run began")


def done(run):
    """Whether a run folder says that the run is done."""
    return json.loads((run / "status.json").read_text())["state"] == "done"


def terminate(process):
    with suppress(ProcessLookupError):  # it has ended by now
        os.killpg(process.pid, signal.SIGTERM)


def test_a_full_disk_leaves_the_previous_checkpoint_and_says_what_is_missing(
    command_line, tmp_path
):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("fills a file system of its own: mounting one takes root, on Linux")
    try:
        line = command_line(
            disk / "run", "--save-every", 1, "--set", "run.keep_checkpoints=1000", "--quiet"
        )
        done = subprocess.run(
            [sys.executable, "-m", "macnn_cli", *map(str, line)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 7, done.stderr
        assert "bytes and" in done.stderr
        assert read_checkpoint(disk / "run").step >= 1
        assert not temporaries(disk / "run")
    finally:
        subprocess.run(["umount", disk], check=True)
