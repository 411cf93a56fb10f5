"""A run that was stopped and goes on ends with the bytes of one that never was."""

import signal

import pytest

from macnn.errors import PreemptedError
from macnn.training.stepper import Stepper


@pytest.fixture
def stop_after(monkeypatch):
    """Have this process asked to stop right after one optimiser step."""
    step = Stepper.step

    def arrange(last):
        def stepping(self, number, *arguments):
            step(self, number, *arguments)
            if number == last:
                signal.raise_signal(signal.SIGTERM)

        monkeypatch.setattr(Stepper, "step", stepping)

    return arrange


@pytest.mark.parametrize("workers", [0, 2])
def test_stopped_after_any_step_a_run_ends_with_the_same_bytes(
    training, content, stop_after, steps, tmp_path, workers
):
    more = {"data.workers": workers}
    training(tmp_path / "whole", more)
    expected = content(tmp_path / "whole")
    # Worker processes start anew every epoch, which is slow: with them every fifth step will do.
    for last in range(1, steps + 1, 5 if workers else 1):
        run = tmp_path / f"stopped-{last}"
        stop_after(last)
        with pytest.raises(PreemptedError, match=f"step-{last};"):
            training(run, more)
        stop_after(None)
        training(run, more)
        assert content(run) == expected, f"stopped after step {last}"


def test_stopped_twice_a_run_ends_with_the_same_bytes(
    training, content, stop_after, steps, tmp_path
):
    training(tmp_path / "whole")
    for first, second in ((2, 3), (5, 14), (8, steps - 1)):
        run = tmp_path / f"stopped-{first}"
        for last in (first, second):
            stop_after(last)
            with pytest.raises(PreemptedError):
                training(run)
        stop_after(None)
        training(run)
        assert content(run) == content(tmp_path / "whole")


def test_with_kept_features_too(training, content, stop_after, tmp_path):
    more = {"train.feature_cache": "host", "train.grouping_steps": 6}
    training(tmp_path / "whole", more)
    stop_after(3)
    with pytest.raises(PreemptedError):
        training(tmp_path / "stopped", more)
    stop_after(None)
    training(tmp_path / "stopped", more)
    assert content(tmp_path / "stopped") == content(tmp_path / "whole")
