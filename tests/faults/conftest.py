"""A short training to interrupt: 24 steps, three rounds of a grouping and a convolution phase."""

import hashlib
import json
import multiprocessing
import signal
import sys
from pathlib import Path

import pytest

from macnn import events
from macnn.commands import pretrain_parts, train, train_part_cnn
from macnn.config import resolve
from macnn.runs.checkpoint import read_checkpoint
from macnn.runs.resume import find_resume
from macnn.training.train_step import TrainStep

ROUNDS, GROUPING, CONVOLUTION = 3, 2, 6  # 16 images, 3 at a time
STEPS = ROUNDS * (GROUPING + CONVOLUTION)


@pytest.fixture
def flags(birds):
    """Settings of the training, by dotted path."""
    return {
        "data.root": birds,
        "data.image_size": 32,
        "data.batch_size": 3,
        "data.validation": 0.2,
        "pretrain.restarts": 4,
        "pretrain.fit_steps": 20,
        "train.rounds": ROUNDS,
        "train.epochs": 1,
        "train.grouping_steps": GROUPING,
        "train.ema": 0.9,
        "run.threads": 1,
    }


@pytest.fixture
def parts(flags, tmp_path):
    """Run folder of found parts to train from."""
    output = tmp_path / "parts"
    chosen = resolve(flags=flags | {"run.output": output}).settings
    pretrain_parts.run(chosen, overwrite=False, listen=events.silent)
    return output


@pytest.fixture
def training(flags, parts):
    """Train into a folder, going on with what is there: training(output, {"train.x": 1})."""

    def call(output, more=None):
        chosen = resolve(flags=flags | (more or {}) | {"run.output": output}).settings
        resume = find_resume("auto", output)
        found = read_checkpoint(parts)
        return train.run(chosen, found, overwrite=True, resume=resume, listen=events.silent)

    return call


@pytest.fixture
def streams_training(flags):
    """Train a part CNN of two epochs: streams_training(located, output)."""

    def call(located, output):
        more = {"run.output": output, "part_cnn.epochs": 2, "part_cnn.stream_size": 32}
        chosen = resolve(flags=flags | more).settings
        resume = find_resume("auto", output)
        found = read_checkpoint(located)
        return train_part_cnn.run(
            chosen, found, overwrite=True, resume=resume, listen=events.silent
        )

    return call


@pytest.fixture
def stop_after(monkeypatch):
    """Have this process asked to stop right after one optimiser step."""
    update = TrainStep.update

    def arrange(last):
        def updating(self, optimiser):
            update(self, optimiser)
            if self.step == last:
                signal.raise_signal(signal.SIGTERM)

        monkeypatch.setattr(TrainStep, "update", updating)

    return arrange


@pytest.fixture
def content():
    """Digests of all that a finished training leaves: weights, optimisers, metrics."""

    def digests(run):
        assert json.loads((run / "status.json").read_text())["state"] == "done"
        newest = read_checkpoint(run).folder
        files = [*sorted(newest.glob("*.safetensors")), run / "metrics.jsonl"]
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    return digests


@pytest.fixture
def command_line(flags, parts):
    """The training as a command: command_line(output, *more)."""

    def build(output, *more):
        others = ("data.root", "pretrain.")
        chosen = [f"--set={p}={v}" for p, v in flags.items() if not p.startswith(others)]
        return (
            "train", "--init", parts, "--data", flags["data.root"], "--output", output,
            "--resume", "auto", *chosen, *more,
        )  # fmt: skip

    return build


@pytest.fixture
def report(capsys):
    """Print a figure past the capturing of output."""

    def call(text):
        with capsys.disabled():
            sys.stdout.write(f"\n{text}\n")

    return call


@pytest.fixture(scope="session")
def start():
    """Run a function of children.py in a process of its own: start("name", *arguments).

    The processes are forked from a server that has imported everything, so they start fast.
    """
    sys.path.insert(0, str(Path(__file__).parent))
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["children", "macnn.commands.train", "macnn_cli.main"])
    import children

    def call(name, *arguments):
        process = server.Process(target=getattr(children, name), args=arguments)
        process.start()
        return process

    return call


@pytest.fixture
def steps():
    """Optimiser steps of the training."""
    return STEPS
