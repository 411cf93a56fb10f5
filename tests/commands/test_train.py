import json

import pytest

from macnn import events
from macnn.commands import train, train_part_cnn
from macnn.errors import UsageError
from macnn.events import Notice


@pytest.mark.parametrize(
    ("command", "message"),
    [(train, "no parts to train from; .*`init`"), (train_part_cnn, "no parts to crop; .*`init`")],
)
def test_a_training_that_needs_parts_says_where_to_name_them(settings, tmp_path, command, message):
    with pytest.raises(UsageError, match=message):
        command.run(settings("run"), None, overwrite=False, listen=events.silent)
    assert not (tmp_path / "run").exists()


def test_classifiers_are_fitted_first_and_what_they_reach_is_recorded(settings, tmp_path):
    path = {"model.parts": 0}
    told = []
    summary = train.run(settings("run", path), None, overwrite=False, listen=told.append)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    assert (first["phase"], first["step"]) == ("probe", 0)
    assert summary["probe_accuracy"] == first["accuracy"]
    said = f"linear probe: {first['accuracy']:.1%} of the validation images"
    assert Notice("info", said) in told


def test_training_that_ends_below_a_linear_probe_says_so(settings, monkeypatch):
    told = []
    monkeypatch.setattr(train, "linear_probe", lambda models, *_: [2.0 for _ in models])
    train.run(settings("run", {"model.parts": 0}), None, overwrite=False, listen=told.append)
    warnings = [each.text for each in told if isinstance(each, Notice) and each.level == "warning"]
    assert any("below the 200.0% of a linear probe" in text for text in warnings)


def test_without_a_probe_classifiers_start_at_random(settings, tmp_path):
    chosen = settings("run", {"model.parts": 0, "train.probe": False})
    assert train.run(chosen, None, overwrite=False, listen=events.silent)["probe_accuracy"] is None
