import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch

import macnn_kernels
from macnn.commands.doctor import training
from macnn.commands.doctor.operators import check_operators
from macnn.commands.doctor.surroundings import look_around
from macnn.commands.doctor.training import check_training
from macnn.config import resolve
from macnn.runs.environment import environment

CPU = torch.device("cpu")
LITTLE_MEMORY = "MemTotal: 8000000 kB\nMemAvailable: 1840000 kB\n"


def broken(findings):
    return {finding.name: finding for finding in findings if not finding.ok}


def around(tmp_path, **packages):
    known = environment()
    return look_around(tmp_path, CPU, {**known, "packages": {**known["packages"], **packages}})


def test_a_sound_machine_is_found_sound(tmp_path):
    findings = [*around(tmp_path), *check_operators(CPU)]
    assert broken(findings) == {}
    assert all("\n" not in finding.text for finding in findings)


def test_a_missing_package_is_named(tmp_path):
    found = broken(around(tmp_path, torchvision="not installed"))
    assert "torchvision" in found["versions"].remedy


def test_a_machine_without_triton_is_sound(tmp_path):
    assert broken(around(tmp_path, triton="not installed")) == {}


def test_a_full_disk_is_found(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10, 10, 10**8)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert "`run.output`" in broken(around(tmp_path / "not" / "there"))["disk"].remedy


def test_little_memory_is_found(tmp_path, monkeypatch):
    read = Path.read_text

    def little(file, **how):
        return LITTLE_MEMORY if file == Path("/proc/meminfo") else read(file, **how)

    monkeypatch.setattr(Path, "read_text", little)
    assert "1.9 GB free" in broken(around(tmp_path))["memory"].text


def test_a_driver_without_a_usable_gpu_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    assert set(broken(around(tmp_path))) == {"GPU"}


def test_an_operator_that_answers_wrongly_is_found(monkeypatch):
    right = macnn_kernels.grouping_loss

    def wrong(maps):
        distance, diversity = right(maps)
        return distance * (1.1 if maps.dtype == torch.float32 else 1), diversity

    monkeypatch.setattr(macnn_kernels, "grouping_loss", wrong)
    found = broken(check_operators(CPU))
    assert set(found) == {"grouping_loss"}
    assert "off by" in found["grouping_loss"].text
    assert "`run.kernels=reference`" in found["grouping_loss"].remedy


def test_an_operator_that_answers_nan_or_fails_is_found(monkeypatch):
    def fail(*_):
        raise RuntimeError("no kernel image\nis available")

    monkeypatch.setattr(macnn_kernels, "channel_grouping", lambda pooled, *_: pooled * torch.nan)
    monkeypatch.setattr(macnn_kernels, "cluster_channels", fail)
    found = broken(check_operators(CPU))
    assert set(found) == {"channel_grouping", "cluster_channels"}
    assert found["cluster_channels"].text == "RuntimeError: no kernel image is available"


@pytest.fixture
def settings():
    return resolve(environ={}).settings


def test_training_is_tried_up_to_the_checkpoint(settings):
    findings = check_training(settings, CPU)
    assert broken(findings) == {}
    assert findings[-1].name == "checkpoint"


def test_training_that_fails_is_found_and_what_builds_on_it_left_out(settings, monkeypatch):
    monkeypatch.setitem(training.SMALL, "model.parts", 0)
    (finding,) = check_training(settings, CPU)
    assert not finding.ok
    assert "`model.parts` 0" in finding.text
    assert "baseline" in finding.remedy
