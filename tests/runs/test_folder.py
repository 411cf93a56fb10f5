import json

import pytest

from macnn.config import Settings
from macnn.errors import UsageError
from macnn.events import Metrics, Notice
from macnn.runs.folder import RunFolder, check_output


def status(folder):
    return json.loads((folder / "status.json").read_text())


def test_a_run_leaves_its_settings_metrics_and_summary(tmp_path):
    path = tmp_path / "deep" / "run"
    with RunFolder(path, Settings(), ("a", "b"), overwrite=False) as run:
        assert status(path) == {"state": "running", "reason": None}
        run.record(Notice("info", "not kept"))
        run.record(Metrics("grouping", 1, {"cng": 0.5}))
        run.record(Metrics("convolution", 2, {"cls": 1.5}))
        run.finish({"steps": 2})
    assert status(path) == {"state": "done", "reason": None}
    assert json.loads((path / "classes.json").read_text()) == ["a", "b"]
    assert json.loads((path / "summary.json").read_text()) == {"steps": 2}
    lines = (path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]
    assert (path / "metrics.csv").read_text().splitlines() == [
        "phase,step,cng,cls",
        "grouping,1,0.5,",
        "convolution,2,,1.5",
    ]
    assert {"config.toml", "env.json"} <= {file.name for file in path.iterdir()}


def test_a_failed_run_says_so(tmp_path):
    with pytest.raises(RuntimeError), RunFolder(tmp_path, Settings(), (), overwrite=False):
        raise RuntimeError("the lamp went out")
    assert status(tmp_path) == {"state": "failed", "reason": "the lamp went out"}


def test_a_used_folder_is_kept_unless_it_is_given_up(tmp_path):
    RunFolder(tmp_path, Settings(), (), overwrite=False)
    (tmp_path / "old").touch()
    with pytest.raises(UsageError, match="--overwrite"):
        RunFolder(tmp_path, Settings(), (), overwrite=False)
    assert (tmp_path / "old").exists()
    RunFolder(tmp_path, Settings(), (), overwrite=True)
    assert not (tmp_path / "old").exists()


def test_a_folder_of_other_things_is_never_overwritten(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UsageError, match="not a run folder"):
        check_output(tmp_path, overwrite=True)
    with pytest.raises(UsageError, match="is a file"):
        check_output(tmp_path / "thesis.tex", overwrite=True)
    with pytest.raises(UsageError, match="--output DIR"):
        check_output(None, overwrite=True)
