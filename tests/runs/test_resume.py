import pytest

from macnn.config import resolve
from macnn.errors import CheckpointError, UsageError
from macnn.model.specs import PooledSpec
from macnn.runs.checkpoint import Progress, write_checkpoint
from macnn.runs.folder import RunFolder
from macnn.runs.resume import check_output_is, check_unchanged, find_resume


@pytest.fixture
def run(tmp_path):
    settings = resolve(flags={"train.lr": 0.1, "run.output": tmp_path / "run"}).settings
    folder = RunFolder(tmp_path / "run", settings, ("a",), overwrite=False)
    write_checkpoint(
        folder.checkpoints, "baseline", 5, {"model": {}, "trainer": {}}, run=folder.run_id,
        network=PooledSpec(
            backbone="tiny", tap=None, map_tap=None, split_signs=False, mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5), image_size=64, classes=1,
        ),
        class_names=("a",), settings=settings,
        progress=Progress(trainer={}),
    )  # fmt: skip
    return tmp_path / "run"


def test_auto_takes_the_newest_checkpoint_or_none(run, tmp_path):
    assert find_resume("auto", run, "baseline").step == 5
    assert find_resume("auto", tmp_path / "new", "baseline") is None
    assert find_resume(None, run, "baseline") is None
    with pytest.raises(UsageError, match=r"pass `run\.output`"):
        find_resume("auto", None, "baseline")


def test_a_path_must_hold_a_run_of_this_kind(run, tmp_path):
    assert find_resume(str(run), None, "baseline").run == run
    with pytest.raises(CheckpointError, match="expected statistics"):
        find_resume(str(run), None, "statistics")
    with pytest.raises(CheckpointError, match="no such folder"):
        find_resume(str(tmp_path / "new"), None, "baseline")


def test_a_run_goes_on_with_the_settings_it_began_with(run):
    found = find_resume("auto", run, "baseline")
    same = resolve(flags={"data.workers": 3}, checkpoint=found.all_settings()).settings
    check_unchanged(found, same)
    other = resolve(flags={"train.lr": 0.2}, checkpoint=found.all_settings()).settings
    with pytest.raises(UsageError, match=r"`train\.lr=0\.2`: the run began with 0\.1"):
        check_unchanged(found, other)


def test_a_run_goes_on_in_its_own_folder(run, tmp_path):
    check_output_is(run, None)
    check_output_is(run, run / ".." / "run")
    with pytest.raises(UsageError, match=r"leave `run\.output` out"):
        check_output_is(run, tmp_path / "other")
