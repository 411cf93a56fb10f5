"""Cost over sizes, images and processes is measured where it is said to be."""

import os

import pytest
import torch

from macnn.commands.bench import scaling
from macnn.commands.bench.cases import Shape
from macnn.commands.bench.processes import bench_processes

CPU = torch.device("cpu")
BASE = Shape(batch=2, channels=8, height=4, width=4, parts=2, dtype="float32")


@pytest.fixture
def measured(monkeypatch):
    monkeypatch.setattr(scaling, "CURVES", {"parts": (1, 2), "height": (3,), "classes": (2, 5)})
    monkeypatch.setattr(scaling, "IMAGES", (64, 128))
    monkeypatch.setattr(scaling, "bench_processes", lambda device, **_: ["shared"])
    return scaling.bench_scaling(BASE, CPU, repeats=2)


def test_every_point_of_a_curve_has_the_time_of_every_operator(measured):
    points = [(row["axis"], row["size"]) for row in measured["curves"]]
    assert points == [("parts", 1), ("parts", 2), ("height", 3), ("classes", 2), ("classes", 5)]
    assert all(t > 0 for row in measured["curves"] for t in row["seconds"].values())
    assert len(measured["curves"][0]["seconds"]) == 10
    assert len(measured["curves"][-1]["seconds"]) == 2


def test_channel_statistics_and_processes_are_part_of_it(measured):
    assert [row["images"] for row in measured["statistics"]] == [64, 128]
    assert measured["processes"] == ["shared"]


@pytest.mark.slow
def test_as_many_processes_as_cores_are_measured_together(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    found = bench_processes(CPU, repeats=2)
    assert [row["processes"] for row in found] == [1, 2]
    assert all(row["statistics_seconds"] > 0 and row["step_seconds"] > 0 for row in found)
