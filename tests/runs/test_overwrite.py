"""--overwrite and --resume in folders that hold more than the run, or are interrupted."""

import os

import pytest

from macnn.config import Settings
from macnn.errors import DiskError, UsageError
from macnn.events import Metrics
from macnn.files import temporary_path
from macnn.model.specs import PooledSpec
from macnn.runs import folder as module
from macnn.runs.checkpoint import Progress, read_checkpoint, write_checkpoint
from macnn.runs.contents import own_files
from macnn.runs.folder import RunFolder, check_output

SPEC = PooledSpec(
    backbone="tiny",
    tap=None,
    map_tap=None,
    split_signs=False,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    image_size=64,
    classes=2,
)
FOREIGN = (".gitkeep", ".ssh/id", "notes.txt", "report/thoughts.md", "checkpoints/README")


def run_folder(path, **how):
    return RunFolder(path, Settings(), ("a", "b"), **{"overwrite": False, **how})


def save(folder, step):
    path = write_checkpoint(
        folder.checkpoints, "baseline", step, {"model": {}, "trainer": {}}, run=folder.run_id,
        network=SPEC, class_names=("a", "b"), settings=Settings(),
        progress=Progress(metrics_bytes=folder.metrics_bytes, trainer={}),
    )  # fmt: skip
    folder.settle()
    return path


@pytest.fixture
def run(tmp_path):
    """A run folder with a checkpoint, metrics and a report, and with files of somebody's own."""
    folder = run_folder(tmp_path / "run")
    folder.record(Metrics("convolution", 1, {"cls": 0.5}))
    save(folder, 5)
    folder.report.mkdir()
    (folder.report / "eval-test.json").write_text("{}")
    for name in FOREIGN:
        (folder.path / name).parent.mkdir(exist_ok=True)
        (folder.path / name).write_text(name)
    return folder.path


def content(run):
    return {
        str(file.relative_to(run)): file.read_bytes() for file in run.rglob("*") if file.is_file()
    }


def test_what_is_not_of_the_run_stays(run):
    save(run_folder(run, overwrite=True), 1)
    assert {name: (run / name).read_text() for name in FOREIGN} == {name: name for name in FOREIGN}
    assert not (run / "report" / "eval-test.json").exists()
    assert not (run / "checkpoints" / "step-5").exists()


def test_the_old_run_is_deleted_at_the_first_checkpoint_of_the_new_one(run):
    old = content(run)
    folder = run_folder(run, overwrite=True)
    assert set(old.values()) <= set(content(run).values())
    save(folder, 1)
    assert set(content(run)) == set(own_files(run)) | set(FOREIGN)


def test_a_run_that_fails_before_its_first_checkpoint_gives_the_old_one_back(run):
    old = content(run)
    with pytest.raises(RuntimeError), run_folder(run, overwrite=True):
        raise RuntimeError
    assert content(run) == old


def test_a_folder_that_cannot_be_taken_over_is_left_as_it_was(run, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    old = content(run)
    monkeypatch.setattr(module, "to_toml", full)
    with pytest.raises(DiskError, match="No space left"):
        run_folder(run, overwrite=True)
    assert content(run) == old


@pytest.mark.parametrize("moment", range(9))
def test_killed_while_it_takes_over_a_folder_nothing_is_lost_and_the_next_start_works(
    run, monkeypatch, moment
):
    """Killed before the n-th file is written, a file moved or a folder made."""
    count = 0

    def counted(function):
        def call(*arguments, **named):
            nonlocal count
            if count == moment:
                os._exit(9)
            count += 1
            return function(*arguments, **named)

        return call

    old = {value for name, value in content(run).items() if name != "env.json"}
    child = os.fork()
    if not child:
        monkeypatch.setattr(os, "replace", counted(os.replace))
        monkeypatch.setattr(os, "rename", counted(os.rename))
        run_folder(run, overwrite=True)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert old <= set(content(run).values())
    folder = run_folder(run, overwrite=True)
    assert old <= set(content(run).values())
    save(folder, 1)
    assert set(content(run)) == set(own_files(run)) | set(FOREIGN)


@pytest.mark.parametrize("saved", [True, False])
def test_what_a_killed_run_was_writing_is_gone_when_another_takes_its_place(tmp_path, saved):
    killed = run_folder(tmp_path / "run")
    if saved:
        save(killed, 5)
    for folder in (killed.path, killed.checkpoints, killed.report):
        temporary_path(folder, killed.run_id).mkdir(parents=True)
    folder = run_folder(killed.path, overwrite=True)
    save(folder, 1)
    assert not list(killed.path.rglob(".macnn-*"))


def test_going_on_deletes_later_checkpoints_of_the_run_and_nothing_else(run):
    first = read_checkpoint(run)
    folder = run_folder(run, resume=first)
    folder.record(Metrics("convolution", 2, {"cls": 0.25}))
    save(folder, 9)
    run_folder(run, resume=first).rewind(first)
    assert {name: (run / name).read_text() for name in FOREIGN} == {name: name for name in FOREIGN}
    assert not (run / "checkpoints" / "step-9").exists()
    assert (run / "metrics.jsonl").read_text().count("\n") == 1


def test_a_file_among_those_of_a_checkpoint_is_named_before_anything_happens(run):
    (run / "checkpoints" / "step-5" / "mine").touch()
    before = content(run)
    for how in ({"resume": read_checkpoint(run)}, {"overwrite": True}):
        with pytest.raises(UsageError, match=r"step-5: holds other files \(mine\); move them away"):
            run_folder(run, **how)
    assert content(run) == before


def test_going_on_deletes_nothing_before_it_is_sure_to_go_on(run):
    first = read_checkpoint(run)
    folder = run_folder(run, resume=first)
    folder.record(Metrics("convolution", 2, {"cls": 0.25}))
    save(folder, 9)
    before = content(run)
    run_folder(run, resume=first)
    kept = {name for name in before if name.startswith(("checkpoints/", "metrics"))}
    assert {name: content(run)[name] for name in kept} == {name: before[name] for name in kept}


@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "status.json", "report", "checkpoints", "report/eval-test.json"]
)
@pytest.mark.parametrize("going_on", [True, False])
def test_a_link_in_a_run_folder_is_refused(run, tmp_path, name, going_on):
    before = read_checkpoint(run)
    (run / name).rename(tmp_path / "elsewhere")
    (run / name).symlink_to(tmp_path / "elsewhere")
    how = {"resume": before} if going_on else {"overwrite": True}
    with pytest.raises(DiskError, match="is a link"):
        run_folder(run, **how)


def test_metrics_with_a_second_name_are_refused(run, tmp_path):
    os.link(run / "metrics.jsonl", tmp_path / "mine")
    with pytest.raises(DiskError, match=r"metrics\.jsonl: has a second name"):
        run_folder(run, resume=read_checkpoint(run))
    assert (tmp_path / "mine").read_text()


def test_a_status_and_environment_of_two_runs_make_no_run_folder(run, tmp_path):
    other = run_folder(tmp_path / "other").path
    (run / "env.json").write_bytes((other / "env.json").read_bytes())
    with pytest.raises(UsageError, match="not a run folder"):
        check_output(run, overwrite=True)
