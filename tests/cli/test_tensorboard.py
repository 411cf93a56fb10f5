import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def test_tensorboard_shows_what_metrics_jsonl_says(macnn, birds, tmp_path):
    run = tmp_path / "run"
    code, _, err = macnn(
        "train", "--data", birds, "--parts", 0, "--img-size", 32, "--rounds", 1, "--epochs", 1,
        "--tensorboard", "--output", run, "-q",
    )  # fmt: skip
    assert code == 0, err
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    recorded = {
        (f"{row['phase']}/{name}", row["step"]): value
        for row in rows
        for name, value in row.items()
        if name not in ("phase", "step")
    }
    board = EventAccumulator(str(run / "tensorboard")).Reload()
    shown = {
        (tag, each.step): each.value
        for tag in board.Tags()["scalars"]
        for each in board.Scalars(tag)
    }
    assert shown == pytest.approx(recorded)
