import hashlib
import json

import pytest
import torch

from macnn.config import resolve
from macnn.errors import CheckpointError, DiskError
from macnn.model.specs import LocatorSpec
from macnn.runs import checkpoint as checkpoints
from macnn.runs.checkpoint import read_checkpoint, write_checkpoint
from macnn.runs.folder import RunFolder

NETWORK = LocatorSpec(
    backbone="tiny",
    tap=None,
    map_tap=None,
    split_signs=False,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    image_size=64,
    parts=2,
    hidden=None,
    activation="sigmoid",
    power=8.0,
    competition=0.0,
)
SETTINGS = resolve(flags={"data.root": "/x", "run.seed": 3}, environ={}).settings
TENSORS = {"model": {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor(3)}}


@pytest.fixture
def write(tmp_path):
    """Write a checkpoint into the run folder tmp_path/run: write(step) -> its folder."""
    run = RunFolder(tmp_path / "run", SETTINGS, ("é", "b"), overwrite=False)

    def call(step=7):
        return write_checkpoint(
            run.checkpoints, "parts", step, TENSORS, run=run.run_id, network=NETWORK,
            class_names=("é", "b"), settings=SETTINGS,
        )  # fmt: skip

    return call


def test_what_was_written_is_read_back(tmp_path, write):
    written = write()
    for path in (tmp_path / "run", tmp_path / "run" / "checkpoints", written):
        read = read_checkpoint(path)
        assert (read.kind, read.step, read.class_names) == ("parts", 7, ("é", "b"))
        assert (read.folder, read.run) == (written, tmp_path / "run")
        assert torch.equal(read.tensors("model")["a"], TENSORS["model"]["a"])
        assert (read.network, read.settings) == (NETWORK, SETTINGS)
        name, values = read.layer("run")
        assert (name, values["run.seed"]) == (str(written), 3)
        assert all(path.startswith("run.") for path in values)


def test_the_run_folder_stands_for_its_newest_checkpoint(tmp_path, write):
    write(7)
    write(9)
    assert read_checkpoint(tmp_path / "run").step == 9


def test_a_run_killed_before_it_pointed_at_its_checkpoint_has_it_all_the_same(tmp_path, write):
    write(9)
    (tmp_path / "run" / "checkpoints" / "latest").unlink()
    assert read_checkpoint(tmp_path / "run").step == 9


def test_every_truncation_and_every_flipped_byte_is_refused(write):
    folder = write()
    for file in sorted(folder.iterdir()):
        whole = file.read_bytes()
        for position in range(0, len(whole), max(1, len(whole) // 16)):
            flipped = bytearray(whole)
            flipped[position] ^= 1
            for damaged in (whole[:position], bytes(flipped)):
                file.write_bytes(damaged)
                if file.name == "manifest.json" and _same(damaged, whole):
                    continue
                with pytest.raises(CheckpointError, match="step-7"):
                    read_checkpoint(folder)
        file.write_bytes(whole)
    assert read_checkpoint(folder).step == 7


def _same(damaged, whole):
    """Whether a damaged manifest still says the same: white space may change."""
    try:
        return json.loads(damaged) == json.loads(whole)
    except ValueError:
        return False


def test_another_kind_is_refused_with_what_would_do(write):
    with pytest.raises(CheckpointError, match="a 'parts' checkpoint, expected macnn or baseline"):
        read_checkpoint(write(), "macnn", "baseline")


def rewritten(folder, **changes):
    """Change what checkpoint.json says, with digests that fit."""
    content = json.loads((folder / "checkpoint.json").read_text()) | changes
    manifest = json.loads((folder / "manifest.json").read_text())
    described = json.dumps(content).encode()
    (folder / "checkpoint.json").write_bytes(described)
    listed = {"sha256": hashlib.sha256(described).hexdigest(), "bytes": len(described)}
    manifest["files"]["checkpoint.json"] = listed
    sealed = json.dumps(manifest["files"], sort_keys=True).encode()
    manifest["sha256"] = hashlib.sha256(sealed).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize("number", [6, 8])
def test_a_checkpoint_of_another_version_is_refused_as_that(write, number):
    with pytest.raises(CheckpointError, match="not a checkpoint of this version"):
        read_checkpoint(rewritten(write(), format=number))


@pytest.mark.parametrize("kind", ["macnn", "baseline", "part-cnn"])
def test_a_kind_with_the_network_of_another_kind_is_refused(write, kind):
    with pytest.raises(CheckpointError, match=f"kind {kind} with another kind's network"):
        read_checkpoint(rewritten(write(), kind=kind))


def test_as_many_classes_as_names_are_expected(write):
    network = {
        "backbone": "tiny",
        "tap": None,
        "map_tap": None,
        "split_signs": False,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "image_size": 64,
        "classes": 3,
    }
    with pytest.raises(CheckpointError, match="2 class names for 3 classes"):
        read_checkpoint(rewritten(write(), kind="baseline", network=network))


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        read_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="no such folder"):
        read_checkpoint(tmp_path / "nowhere")


def test_a_failed_write_leaves_nothing_behind_and_the_old_one_intact(tmp_path, write, monkeypatch):
    write(1)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(DiskError, match="No space left"):
        write(2)
    assert read_checkpoint(tmp_path / "run").step == 1
    left = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert left == {"latest", "step-1"}
