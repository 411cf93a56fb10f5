"""A short training to interrupt: 24 steps, three rounds of a grouping and a convolution phase."""

import hashlib
import json

import pytest

from macnn import events
from macnn.config import resolve
from macnn.runs.checkpoint import read_checkpoint
from macnn.runs.resume import find_resume
from macnn.training import pretrain_parts, train

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
def content():
    """Digests of all that a finished training leaves: weights, optimisers, metrics."""

    def digests(run):
        assert json.loads((run / "status.json").read_text())["state"] == "done"
        newest = read_checkpoint(run).folder
        files = [*sorted(newest.glob("*.safetensors")), run / "metrics.jsonl"]
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    return digests


@pytest.fixture
def steps():
    """Optimiser steps of the training."""
    return STEPS
