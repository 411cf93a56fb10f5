import json

import pytest

from macnn.config import Settings
from macnn.errors import UsageError
from macnn.events import Metrics, Notice
from macnn.files import temporary_path
from macnn.runs import folder
from macnn.runs.folder import RunFolder, check_output


def status(path):
    found = json.loads((path / "status.json").read_text())
    return {key: found[key] for key in ("state", "reason")}


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


def test_a_used_folder_is_refused_without_overwrite(tmp_path):
    RunFolder(tmp_path, Settings(), (), overwrite=False)
    with pytest.raises(UsageError, match="`overwrite`"):
        RunFolder(tmp_path, Settings(), (), overwrite=False)


@pytest.mark.parametrize("moment", ["to_toml", "environment"])
def test_a_run_killed_while_it_makes_its_folder_can_begin_again(tmp_path, monkeypatch, moment):
    def kill(*_):
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(folder, moment, kill)
        with pytest.raises(SystemExit):
            RunFolder(tmp_path, Settings(), (), overwrite=False)
    RunFolder(tmp_path, Settings(), (), overwrite=True)
    assert status(tmp_path)["state"] == "running"


def test_a_run_that_failed_before_its_first_checkpoint_is_begun_again(tmp_path):
    with pytest.raises(RuntimeError), RunFolder(tmp_path, Settings(), (), overwrite=False):
        raise RuntimeError("a picture is broken")
    check_output(tmp_path, overwrite=False)
    (tmp_path / "checkpoints" / "step-1").mkdir(parents=True)
    with pytest.raises(UsageError, match="`resume=auto` goes on"):
        check_output(tmp_path, overwrite=False)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"state": "failed"}'])
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_status_alone_makes_no_run_folder(tmp_path, content, overwrite):
    (tmp_path / "status.json").write_text(content)
    with pytest.raises(UsageError, match="not a run folder"):
        check_output(tmp_path, overwrite)


def test_a_temporary_file_alone_is_an_empty_folder(tmp_path):
    temporary_path(tmp_path).touch()
    check_output(tmp_path, overwrite=False)
    RunFolder(tmp_path, Settings(), (), overwrite=False)
    assert not list(tmp_path.glob(".*"))


def test_a_folder_of_other_things_is_never_overwritten(tmp_path):
    (tmp_path / "thesis.tex").touch()
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="not a run folder"):
            check_output(tmp_path, overwrite)
    with pytest.raises(UsageError, match="is a file"):
        check_output(tmp_path / "thesis.tex", overwrite=True)
    with pytest.raises(UsageError, match=r"pass `run\.output`"):
        check_output(None, overwrite=True)
