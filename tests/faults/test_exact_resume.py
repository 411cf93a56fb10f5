"""A run that was stopped and goes on ends with the bytes of one that never was."""

import pytest

from macnn.errors import PreemptedError


@pytest.mark.parametrize("workers", [0, 2])
def test_stopped_after_any_step_a_run_ends_with_the_same_bytes(
    training, content, stop_after, steps, tmp_path, workers
):
    more = {"data.workers": workers}
    training(tmp_path / "whole", more)
    expected = content(tmp_path / "whole")
    for last in range(1, steps + 1):
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


def test_a_part_cnn_too(training, streams_training, content, stop_after, tmp_path):
    located = tmp_path / "macnn"
    training(located, {"train.rounds": 1})
    streams_training(located, tmp_path / "whole")
    for last in (1, 6, 7, 11):  # in an epoch, at its end, in the next one
        run = tmp_path / f"stopped-{last}"
        stop_after(last)
        with pytest.raises(PreemptedError, match=f"step-{last};"):
            streams_training(located, run)
        stop_after(None)
        streams_training(located, run)
        assert content(run) == content(tmp_path / "whole"), f"stopped after step {last}"
