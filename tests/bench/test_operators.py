import json
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

import macnn_kernels as kernels
from macnn.commands.bench import eager, operators
from macnn.commands.bench.cases import Case, Shape
from macnn.commands.bench.clock import Clock, Timing
from macnn.commands.bench.operators import bench_operators
from macnn.errors import DeviceMemoryError, UsageError
from macnn.events import Progress

SMALL = Shape(batch=2, channels=12, height=5, width=6, parts=3, dtype="float32")


@pytest.fixture(scope="module")
def measured():
    events = []
    return bench_operators(SMALL, repeats=3, listen=events.append), events


def test_every_operator_is_measured_in_every_direction(measured):
    bench, _ = measured
    assert [(row["operator"], row["direction"]) for row in bench["rows"]] == [
        ("channel_peaks", "forward"),
        ("peak_gram", "forward"),
        ("cluster_channels", "forward"),
        ("channel_grouping", "forward"),
        ("channel_grouping", "backward"),
        ("part_attention", "forward"),
        ("part_attention", "backward"),
        ("part_attention", "backward, features fixed"),
        ("grouping_loss", "forward"),
        ("grouping_loss", "backward"),
    ]
    for row in bench["rows"]:
        assert set(row["times"]) == {"operator", "plain"}
        assert all(0 < t["low"] <= t["median"] <= t["high"] for t in row["times"].values())


def test_progress_is_reported(measured):
    bench, events = measured
    assert events[0] == Progress("operators", 0, len(bench["rows"]))
    assert events[-1] == Progress("operators", len(bench["rows"]), len(bench["rows"]))


def test_the_json_names_what_it_was_measured_on(measured):
    found = json.loads(json.dumps(measured[0]))
    assert found["device"] == "cpu"
    assert found["shape"]["channels"] == 12
    assert found["copy_bandwidth"] > 0
    assert found["environment"]["packages"]["torch"] == torch.__version__.split("+")[0]
    assert "commit" in found["environment"]
    assert len(found["rows"]) == 10


def test_ratios_of_a_worked_case(monkeypatch):
    times = iter([Timing(2.0, 1.0, 3.0), Timing(8.0, 8.0, 8.0)] * 2)
    limited = Case("part_attention", "forward", 100, tuple, tuple, tuple)
    monkeypatch.setattr(operators, "cases", lambda *_: [limited, replace(limited, bytes=None)])
    monkeypatch.setattr(operators, "copy_bandwidth", lambda _: 200.0)
    monkeypatch.setattr(Clock, "time_call", lambda *_, **__: None)
    monkeypatch.setattr(Clock, "read", lambda *_, **__: next(times))
    rows = bench_operators(SMALL)["rows"]
    assert [row["speedup"] for row in rows] == [{"plain": 4}] * 2
    assert [row["of_copy_bandwidth"] for row in rows] == [0.25, None]


def test_a_clock_starts_anew_after_reading():
    clock = Clock(torch.device("cpu"))
    for _ in range(2):
        for _ in range(4):
            assert clock.time(lambda: 7) == 7
        assert clock.read(skip=2).median > 0


def test_the_plain_module_computes_the_same():
    torch.manual_seed(0)
    features = torch.randn(2, 12, 5, 6).relu()
    weights = torch.rand(2, 3, 12)
    peaks = kernels.channel_peaks(features)
    assert_close(eager.channel_peaks(features), tuple(peaks))
    assert_close(eager.peak_gram(peaks.x, peaks.y), kernels.peak_gram(peaks))
    attention, parts = kernels.part_attention(features, weights, scale=0.5)
    assert_close(eager.part_attention(features, weights, scale=0.5), (attention, parts))
    assert_close(eager.grouping_loss(attention), tuple(kernels.grouping_loss(attention)))
    layers = [torch.randn(s) for s in ((2, 12), (3, 5, 12), (3, 5), (3, 12, 5), (3, 12))]
    assert_close(eager.channel_grouping(*layers), kernels.channel_grouping(*layers))


def test_plain_clustering_finds_what_is_there():
    trajectories = torch.tensor([[0.0, 0], [9, 9], [0, 1], [9, 8], [1, 0]])
    labels = eager.cluster_channels(trajectories, 2, restarts=4)
    assert (labels == labels[0]).tolist() == [True, False, True, False, True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": Shape(dtype="int8")}, "`dtype=int8`: unknown; choose from float32, bfloat16"),
        ({"shape": Shape(height=0)}, "`height=0`; give at least 1"),
        ({"shape": Shape(parts=17)}, "`parts=17`; give at most 16"),
        ({"shape": Shape(channels=3)}, "`parts=4`; give at most 16, and one channel for each"),
        ({"repeats": 1}, "`repeats=1`; give at least 2"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(UsageError, match=message):
        bench_operators(**options)


def test_sizes_beyond_the_memory_are_named():
    with pytest.raises(DeviceMemoryError) as refused:
        bench_operators(replace(SMALL, batch=2**40))
    message = "out of memory with `batch=1099511627776` and `channels=12`; give fewer of either"
    assert str(refused.value) == message


def test_a_missing_gpu_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="no CUDA device here"):
        bench_operators(device="cuda")
