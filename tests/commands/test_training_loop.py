import json
from dataclasses import replace

import pytest

from macnn import events
from macnn.commands import train
from macnn.errors import CheckpointError, PreemptedError
from macnn.runs.checkpoint import read_checkpoint

BASELINE = {"model.parts": 0, "run.keep_checkpoints": 9, "train.probe": False}


def trained(settings, folder, more=(), resume=None, listen=events.silent):
    chosen = settings(folder, BASELINE | dict(more))
    return train.run(chosen, None, overwrite=False, listen=listen, resume=resume)


def steps(run):
    return sorted(int(each.name[5:]) for each in (run / "checkpoints").glob("step-*"))


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def content(run):
    """What a training leaves, but for its times."""
    newest = read_checkpoint(run).folder
    files = (newest / "model.safetensors", newest / "trainer.safetensors", run / "metrics.jsonl")
    return [file.read_bytes() for file in files]


def test_every_phase_and_the_validation_of_every_round_are_recorded_and_told(settings, tmp_path):
    told = []
    trained(settings, "run", listen=told.append)
    recorded = [(row["phase"], row["step"]) for row in rows(tmp_path / "run")]
    half = recorded[-1][1] // 2
    assert recorded == [
        ("convolution", half),
        ("validation", half),
        ("convolution", 2 * half),
        ("validation", 2 * half),
    ]
    metrics = [each for each in told if isinstance(each, events.Metrics)]
    assert [(each.phase, each.step) for each in metrics] == recorded


def test_checkpoints_are_written_when_due_and_after_every_round(settings, tmp_path):
    summary = trained(settings, "run", {"run.save_every": 3})
    whole = summary["steps"]
    assert steps(tmp_path / "run") == sorted({*range(3, whole + 1, 3), whole // 2, whole})
    assert summary["checkpoint"] == str(tmp_path / "run" / "checkpoints" / f"step-{whole}")


def test_the_checkpoint_of_the_best_validation_is_named(settings, tmp_path):
    summary = trained(settings, "run", {"train.lr": 0.05, "train.rounds": 3})
    validated = [row for row in rows(tmp_path / "run") if row["phase"] == "validation"]
    best = max(validated, key=lambda row: row["accuracy"])  # the first of equals
    assert summary["best_validation_accuracy"] == best["accuracy"]
    assert summary["validation_accuracy"] == validated[-1]["accuracy"]
    assert (tmp_path / "run" / "checkpoints" / "best").read_text() == f"step-{best['step']}"


@pytest.mark.parametrize(("task", "done"), [("convolution", 5), ("validation", 1)])
def test_a_stopped_run_is_saved_and_goes_on_to_the_same_bytes(
    settings, stop_at, tmp_path, task, done
):
    trained(settings, "whole")
    with pytest.raises(PreemptedError, match=r"saved .*step-\d+; go on with"):
        trained(settings, "run", listen=stop_at(task, done))
    resume = read_checkpoint(tmp_path / "run")
    assert 0 < resume.step < read_checkpoint(tmp_path / "whole").step
    trained(settings, "run", resume=resume)
    assert content(tmp_path / "run") == content(tmp_path / "whole")


def test_a_run_that_is_done_only_gives_its_summary(settings, tmp_path):
    summary, told = trained(settings, "run"), []
    resume = read_checkpoint(tmp_path / "run")
    assert trained(settings, "run", resume=resume, listen=told.append) == summary
    assert told == []


def test_a_state_of_another_step_than_its_checkpoint_says_is_damaged(settings, stop_at, tmp_path):
    with pytest.raises(PreemptedError):
        trained(settings, "run", listen=stop_at("validation", 1))
    resume = read_checkpoint(tmp_path / "run")
    with pytest.raises(CheckpointError, match=f"damaged, a training state of step {resume.step}"):
        trained(settings, "run", resume=replace(resume, step=resume.step + 1))
