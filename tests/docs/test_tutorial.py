"""The tutorial does what it says: its commands are run as printed, on a few small birds."""

import re
import shlex
import shutil
from pathlib import Path
from urllib.parse import urlparse

import pytest
import torch
from torchvision import models

from macnn_cli.examples import EXAMPLES

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    macnn (.*)$", PAGE, re.MULTILINE)
WRITTEN = re.findall(r"`((?:runs|exported)/[\w./-]+\.\w+)`", PAGE)


@pytest.fixture
def place(birds, tmp_path, monkeypatch):
    """A folder with class folders and new pictures, weights as if downloaded, short trainings."""
    for folder in sorted((birds / "images").iterdir())[:3]:
        for number in range(4):  # 12 images of each
            for image in folder.iterdir():
                target = tmp_path / "birds" / folder.name[4:] / f"{number}-{image.name}"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(image, target)
    shutil.copytree(tmp_path / "birds", tmp_path / "new")
    torch.manual_seed(0)
    name = urlparse(models.SqueezeNet1_0_Weights.DEFAULT.url).path.rsplit("/", 1)[1]
    cached = tmp_path / "torch" / "hub" / "checkpoints" / name
    cached.parent.mkdir(parents=True)
    torch.save(models.squeezenet1_0().state_dict(), cached)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for setting, value in {
        "DATA__IMAGE_SIZE": 96,
        "PRETRAIN__FIT_STEPS": 5,
        "TRAIN__ROUNDS": 1,
        "TRAIN__EPOCHS": 1,
        "TRAIN__GROUPING_STEPS": 1,
    }.items():
        monkeypatch.setenv(f"MACNN_{setting}", str(value))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def listing(folder):
    return sorted((p, p.stat().st_mtime_ns) for p in folder.rglob("*"))


@pytest.mark.slow
def test_every_command_of_the_tutorial_runs_as_printed(macnn, place):
    before = listing(place / "birds")
    for line in COMMANDS:
        code, _, err = macnn(*shlex.split(line))
        assert code == 0, f"{line}: {err}"
    assert WRITTEN
    assert all((place / file).stat().st_size > 100 for file in WRITTEN)
    assert len(list((place / "seen").rglob("*.*"))) == 36
    assert listing(place / "birds") == before


def test_the_tutorial_goes_all_the_way():
    used = {command.split()[0] for command in COMMANDS}
    assert {"data", "pretrain-parts", "train", "eval", "predict", "export"} == used


def test_the_baseline_is_trained_as_the_help_of_train_shows_it():
    baseline = [f"macnn {line}" for line in COMMANDS if "--parts 0" in line]
    assert baseline
    assert set(baseline) <= {line for _, line in EXAMPLES["train"]}
