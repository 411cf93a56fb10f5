import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from macnn.errors import UsageError
from macnn.events import Metrics
from macnn.runs import tensorboard as module
from macnn.runs.tensorboard import TensorBoard


def scalars(run):
    """What TensorBoard shows: `{tag: {step: value}}`."""
    found = EventAccumulator(str(run / "tensorboard")).Reload()
    return {
        tag: {each.step: each.value for each in found.Scalars(tag)}
        for tag in found.Tags()["scalars"]
    }


def test_metrics_reach_tensorboard_and_nothing_is_written_before_the_first(tmp_path):
    with TensorBoard(tmp_path, wanted=True) as board:
        assert not (tmp_path / "tensorboard").exists()  # the run folder may be emptied yet
        board.record(Metrics("grouping", 1, {"cng": 0.5}))
        board.record(Metrics("validation", 2, {"accuracy": 0.25, "accuracy/part 1": 0.125}))
    assert scalars(tmp_path) == {
        "grouping/cng": {1: 0.5},
        "validation/accuracy": {2: 0.25},
        "validation/accuracy/part 1": {2: 0.125},
    }


def test_steps_that_a_resumed_run_repeats_are_shown_once(tmp_path):
    for steps, value in ((range(1, 6), 1.0), (range(4, 8), 2.0)):
        with TensorBoard(tmp_path, wanted=True) as board:
            for step in steps:
                board.record(Metrics("convolution", step, {"cls": value}))
    shown = scalars(tmp_path)["convolution/cls"]
    assert shown == {1: 1.0, 2: 1.0, 3: 1.0, 4: 2.0, 5: 2.0, 6: 2.0, 7: 2.0}


def test_what_was_recorded_before_a_failure_is_kept(tmp_path):
    def fail():
        with TensorBoard(tmp_path, wanted=True) as board:
            board.record(Metrics("grouping", 1, {"cng": 0.5}))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert scalars(tmp_path) == {"grouping/cng": {1: 0.5}}


def test_unless_it_is_wanted_nothing_is_written(tmp_path):
    with TensorBoard(tmp_path, wanted=False) as board:
        board.record(Metrics("grouping", 1, {"cng": 0.5}))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"not installed; pip install 'macnn\[tensorboard\]'"):
        TensorBoard(tmp_path, wanted=True)
    TensorBoard(tmp_path, wanted=False)
    assert list(tmp_path.iterdir()) == []
