import json

import pytest

from macnn.config import Settings
from macnn.runs.folder import RunFolder
from macnn.runs.summaries import AlternationSummary, finished_summary

WHOLE = {
    "steps": 8, "epochs": 2, "rounds": 1, "seconds_per_epoch": 0.5, "data_wait_share": None,
    "validation_accuracy": None, "checkpoint": "step-8", "more": [1],
}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    with RunFolder(tmp_path / "run", Settings(), ("a", "b"), overwrite=False) as folder:
        folder.finish(WHOLE)
    return folder.path


def test_the_summary_of_a_run_that_is_done_is_given_whole(run):
    assert finished_summary(run, AlternationSummary) == WHOLE


@pytest.mark.parametrize("change", [{"seconds_per_epoch": "x"}, {"rounds": None}, {"steps": 1.5}])
def test_a_summary_of_another_form_is_none(run, change):
    (run / "summary.json").write_text(json.dumps(WHOLE | change))
    assert finished_summary(run, AlternationSummary) is None


def test_a_run_that_is_not_done_has_no_summary(tmp_path):
    folder = RunFolder(tmp_path / "run", Settings(), (), overwrite=False)
    (folder.path / "summary.json").write_text(json.dumps(WHOLE))
    assert finished_summary(folder.path, AlternationSummary) is None
