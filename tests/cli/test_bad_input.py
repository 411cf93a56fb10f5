"""Bad input gets one line that names the thing and the remedy, and nothing is written."""

import shutil

import pytest
import torch
from safetensors.torch import save_file

USAGE, DATA, CHECKPOINT = 2, 3, 4


@pytest.fixture
def broken(birds, tmp_path):
    """A copy of the birds, to be damaged."""
    return shutil.copytree(birds, tmp_path / "broken")


@pytest.fixture
def refused(macnn, tmp_path):
    """Check that pretrain-parts refuses its arguments in one line and writes nothing."""

    def check(code, *words, arguments=(), data=None):
        output = tmp_path / "out"
        given = ("--data", data) if data else ()
        status, out, err = macnn("pretrain-parts", "-q", *given, "--output", output, *arguments)
        assert status == code
        assert out == ""
        lines = err.splitlines()
        assert len(lines) == 1, lines
        assert all(word in lines[0] for word in ("macnn: ", *words)), lines[0]
        assert not (output / "checkpoints").exists()
        return output

    return check


def test_a_missing_folder(refused, tmp_path):
    output = refused(DATA, "nowhere", "no such folder", data=tmp_path / "nowhere")
    assert not output.exists()


def test_no_data_set_at_all(refused):
    refused(USAGE, "no data set given", "--data")


def test_an_empty_class(refused, broken):
    with (broken / "classes.txt").open("a") as file:
        file.write("17 017.Nobody\n")
    assert not refused(DATA, "017.Nobody", "is empty", "classes.txt", data=broken).exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_does_not_decode(refused, broken, workers):
    name = (broken / "images.txt").read_text().splitlines()[0].split(maxsplit=1)[1]
    (broken / "images" / name).write_bytes(b"not an image")
    refused(
        DATA, f"{name}: does not decode", data=broken,
        arguments=("--set", "data.validation=0", "--workers", workers),
    )  # fmt: skip


def test_weights_of_the_wrong_network(refused, birds, tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    refused(
        CHECKPOINT, "a.safetensors", "not weights of tiny", "--backbone",
        data=birds, arguments=("--weights", tmp_path / "a.safetensors"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--weihgts", "x"), ("--weihgts", "--weights")),
        (("--parts", "four"), ("--parts", "integer")),
        (("--parts", "99"), ("macnn: --parts 99: ", "16")),
        (("--set", "model.prts=3"), ("model.prts", "did you mean 'model.parts'")),
        (("--preset", "demmo"), ("demmo", "choose from")),
        (("--backbone", "resnet5O"), ("resnet5O", "did you mean 'resnet50'")),
        (("--device", "gpu"), ("'gpu'", "cpu")),
        (("--parts", "0"), ("--parts 0", "train")),
    ],
)
def test_a_misspelt_option_key_or_value(refused, birds, arguments, words):
    assert not refused(USAGE, *words, data=birds, arguments=arguments).exists()


def test_kernels_that_cannot_run_on_the_device(refused, birds, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    arguments = ("--device", "cpu", "--set", "run.kernels=triton")
    assert not refused(USAGE, "triton", "cpu", "auto", data=birds, arguments=arguments).exists()


def test_a_misspelt_key_in_a_file(refused, birds, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[model]\nprts = 3\n")
    refused(
        USAGE, "mine.toml", "model.prts", "did you mean 'model.parts'",
        data=birds, arguments=("--config", file),
    )  # fmt: skip


def test_a_used_folder_is_kept(macnn, birds, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    code, _, err = macnn("pretrain-parts", "--data", birds, "--output", tmp_path, "--overwrite")
    assert code == USAGE
    assert "not a run folder" in err
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_checkpoint_of_the_wrong_kind(macnn, birds, tmp_path):
    code, _, err = macnn(
        "train", "--data", birds, "--parts", 0, "--rounds", 1, "--epochs", 1, "--img-size", 32,
        "--output", tmp_path / "baseline", "-q",
    )  # fmt: skip
    assert code == 0, err
    code, _, err = macnn("train", "--init", tmp_path / "baseline", "--output", tmp_path / "run")
    assert code == CHECKPOINT
    assert "a 'baseline' checkpoint, expected parts" in err
    assert "finding the parts gives 'parts'" in err
    assert not (tmp_path / "run").exists()


def test_a_missing_checkpoint(macnn, tmp_path):
    code, _, err = macnn("eval", "--checkpoint", tmp_path / "nowhere")
    assert code == CHECKPOINT
    assert "no such folder" in err


def test_training_parts_without_parts(macnn, birds, tmp_path):
    code, _, err = macnn("train", "--data", birds, "--output", tmp_path / "run")
    assert code == USAGE
    assert "--init" in err


def test_settings_that_contradict_the_checkpoint(macnn, birds, tmp_path):
    code, _, err = macnn(
        "pretrain-parts", "--data", birds, "--img-size", 32, "--fit-steps", 1,
        "--output", tmp_path / "parts", "-q",
    )  # fmt: skip
    assert code == 0, err
    code, _, err = macnn(
        "train", "--init", tmp_path / "parts", "--parts", 3, "--output", tmp_path / "run"
    )
    assert code == USAGE
    assert "--parts 3" in err
    assert "has 4" in err


def test_a_name_that_is_too_long(macnn):
    code, out, err = macnn("eval", "--checkpoint", "x" * 300)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    code, out, err = macnn("train", "--resume", "x" * 5000)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "the name is too long" in err
