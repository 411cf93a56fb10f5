import pytest
import torch
import triton.testing

from macnn_kernels.launch import Config, capture_launches, launch

NARROW, WIDE = Config({"BLOCK": 1}), Config({"BLOCK": 4}, num_warps=8)


class Kernel:
    """Stands in for a Triton kernel and notes how it was started."""

    def __init__(self):
        self.starts = []

    def __getitem__(self, grid):
        return lambda *args, **options: self.starts.append((grid, args, options))


def start(kernel, n, configs=(NARROW, WIDE)):
    x = torch.zeros(n)
    launch(kernel, lambda blocks: (n // blocks["BLOCK"],), x, n, configs=configs, POWER=2)
    return x


def test_the_first_configuration_runs():
    kernel = Kernel()
    x = start(kernel, 8)
    ((grid, args, options),) = kernel.starts
    assert grid == (8,)
    assert args == (x, 8)
    assert options["BLOCK"] == 1
    assert options["POWER"] == 2
    assert options["num_warps"] == 4


def test_an_empty_grid_starts_nothing():
    kernel = Kernel()
    start(kernel, 0)
    assert kernel.starts == []


def test_captured_launches_are_not_started():
    kernel = Kernel()
    with capture_launches() as launches:
        start(kernel, 8)
    assert kernel.starts == []
    (found,) = launches
    assert found.config == NARROW
    assert found.constants == {"POWER": 2}


@pytest.mark.parametrize(("seconds", "fastest"), [((1.0, 2.0), 1), ((2.0, 1.0), 4)])
def test_autotuning_runs_the_fastest_and_times_once(seconds, fastest, monkeypatch):
    timed = iter(seconds)
    monkeypatch.setenv("MACNN_AUTOTUNE", "1")
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    monkeypatch.setattr(triton.testing, "do_bench", lambda run: run() or next(timed))
    kernel = Kernel()
    start(kernel, 8)
    start(kernel, 8)
    assert [options["BLOCK"] for _, _, options in kernel.starts] == [1, 4, fastest, fastest]


@pytest.mark.parametrize("interpreted", ["0", "1"])
def test_nothing_to_choose_or_measure_is_not_timed(interpreted, monkeypatch):
    monkeypatch.setenv("MACNN_AUTOTUNE", "1")
    monkeypatch.setenv("TRITON_INTERPRET", interpreted)
    kernel = Kernel()
    start(kernel, 8, configs=[WIDE] if interpreted == "0" else [WIDE, NARROW])
    ((_, _, options),) = kernel.starts
    assert options["BLOCK"] == 4
