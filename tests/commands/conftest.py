"""Short trainings by the functions behind the commands."""

import signal

import pytest

from macnn.config import resolve
from macnn.events import Progress


@pytest.fixture
def settings(birds, tmp_path):
    """Settings of a run of two rounds on a few small images: settings(folder, path=value)."""
    small = {
        "data.root": birds,
        "data.image_size": 32,
        "data.batch_size": 2,
        "data.validation": 0.25,
        "pretrain.restarts": 4,
        "pretrain.fit_steps": 20,
        "train.rounds": 2,
        "train.epochs": 1,
        "run.threads": 2,
    }

    def chosen(folder, more=()):
        return resolve(flags=small | dict(more) | {"run.output": tmp_path / folder}).settings

    return chosen


@pytest.fixture
def stop_at():
    """A listener that has this process asked to stop when some progress is told."""

    def listener(task, done):
        def listen(event):
            if isinstance(event, Progress) and task in event.task and event.done == done:
                signal.raise_signal(signal.SIGTERM)

        return listen

    return listener
