import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from macnn.config import resolve
from macnn.errors import UsageError
from macnn.events import Metrics, Notice
from macnn.runs import tensorboard as module
from macnn.runs.tensorboard import tensorboard

ON = resolve(flags={"run.tensorboard": True}, environ={}).settings
OFF = resolve(environ={}).settings


def scalars(run):
    """What TensorBoard shows: `{tag: {step: value}}`."""
    found = EventAccumulator(str(run / "tensorboard")).Reload()
    return {
        tag: {each.step: each.value for each in found.Scalars(tag)}
        for tag in found.Tags()["scalars"]
    }


def test_metrics_reach_tensorboard_and_every_event_its_listener(tmp_path):
    events = [
        Notice("info", "starting"),
        Metrics("grouping", 1, {"cng": 0.5}),
        Metrics("validation", 2, {"accuracy": 0.25, "accuracy/part 1": 0.125}),
    ]
    heard = []
    with tensorboard(ON, tmp_path, heard.append) as listen:
        listen(events[0])
        assert not (tmp_path / "tensorboard").exists()  # the run folder may be emptied yet
        for event in events[1:]:
            listen(event)
    assert heard == events
    assert scalars(tmp_path) == {
        "grouping/cng": {1: 0.5},
        "validation/accuracy": {2: 0.25},
        "validation/accuracy/part 1": {2: 0.125},
    }


def test_steps_that_a_resumed_run_repeats_are_shown_once(tmp_path):
    for steps, value in ((range(1, 6), 1.0), (range(4, 8), 2.0)):
        with tensorboard(ON, tmp_path, lambda event: None) as listen:
            for step in steps:
                listen(Metrics("convolution", step, {"cls": value}))
    shown = scalars(tmp_path)["convolution/cls"]
    assert shown == {1: 1.0, 2: 1.0, 3: 1.0, 4: 2.0, 5: 2.0, 6: 2.0, 7: 2.0}


def test_without_the_setting_nothing_is_written(tmp_path):
    heard = []
    with tensorboard(OFF, tmp_path, heard.append) as listen:
        listen(Metrics("grouping", 1, {"cng": 0.5}))
    assert len(heard) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with (
        pytest.raises(UsageError, match=r"not installed; pip install 'macnn\[tensorboard\]'"),
        tensorboard(ON, tmp_path, lambda event: None),
    ):
        pass
    with tensorboard(OFF, tmp_path, lambda event: None):
        pass
