import json

import pytest
import torch

from macnn.errors import CheckpointError, DiskError
from macnn.runs import checkpoint as checkpoints
from macnn.runs.checkpoint import read_checkpoint, write_checkpoint

TENSORS = {"model": {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor(3)}}


def write(folder, step=7, kind="parts"):
    return write_checkpoint(
        folder / "run" / "checkpoints",
        kind,
        step,
        TENSORS,
        network={"parts": 2},
        class_names=("é", "b"),
        settings={"data": {"root": "x", "batch_size": None}, "run": {"seed": 3}},
    )


def test_what_was_written_is_read_back(tmp_path):
    written = write(tmp_path)
    for path in (tmp_path / "run", tmp_path / "run" / "checkpoints", written):
        read = read_checkpoint(path)
        assert (read.kind, read.step, read.class_names) == ("parts", 7, ("é", "b"))
        assert (read.folder, read.run) == (written, tmp_path / "run")
        assert torch.equal(read.tensors("model")["a"], TENSORS["model"]["a"])
        assert read.layer("data") == (str(written), {"data.root": "x"})


def test_the_run_folder_stands_for_its_newest_checkpoint(tmp_path):
    write(tmp_path, step=7)
    write(tmp_path, step=9)
    assert read_checkpoint(tmp_path / "run").step == 9


def test_every_truncation_and_every_flipped_byte_is_refused(tmp_path):
    folder = write(tmp_path)
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


def test_another_kind_is_refused_with_what_would_do(tmp_path):
    with pytest.raises(CheckpointError, match="a 'parts' checkpoint, expected macnn or baseline"):
        read_checkpoint(write(tmp_path), "macnn", "baseline")


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        read_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="no such folder"):
        read_checkpoint(tmp_path / "nowhere")


def test_a_failed_write_leaves_nothing_behind_and_the_old_one_intact(tmp_path, monkeypatch):
    write(tmp_path, step=1)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(DiskError, match="No space left"):
        write(tmp_path, step=2)
    assert read_checkpoint(tmp_path / "run").step == 1
    left = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert left == {"latest", "step-1"}
