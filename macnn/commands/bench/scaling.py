"""Scaling of operators and classifiers over each size, and of channel statistics over images.

Features are generated; nothing is read from disk. `processes` has the same over processes.
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from macnn.commands.bench.cases import Shape, cases
from macnn.commands.bench.clock import Clock, device_name
from macnn.commands.bench.processes import bench_processes
from macnn.events import Listener, silent, track
from macnn.model.classifiers import PartClassifiers
from macnn.runs.environment import environment
from macnn.training.losses import part_classification_loss
from macnn_kernels import channel_peaks, peak_gram

CURVES: dict[str, tuple[int, ...]] = {
    "batch": (2, 4, 8, 16, 32),
    "channels": (64, 128, 256, 512, 1024),
    "parts": (1, 2, 4, 8, 16),
    "height": (7, 14, 28, 56),
    "classes": (10, 100, 1000, 10000),
}
IMAGES = (1_000, 10_000, 100_000)
STATISTICS_SHAPE = Shape(batch=64, channels=64, height=14, width=14, parts=4, dtype="float32")
WARM_UP = 2


def bench_scaling(
    base: Shape, device: torch.device, *, repeats: int, listen: Listener = silent
) -> dict[str, Any]:
    """Measure all curves; returns figures as JSON types.

    "curves" holds median seconds, forward and backward, by size: of the operators, and over
    "classes" of the classifiers with their loss. The map is square, so "height" sets both sides.
    "statistics" holds seconds and growth of resident memory of the clustering pass by number of
    images, for `STATISTICS_SHAPE`; "processes" is what `bench_processes` gives.
    """
    points = [(name, size) for name, sizes in CURVES.items() for size in sizes]
    rows = []
    for name, size in track(points, "Sizes", len(points), listen):
        if name == "classes":
            seconds = _classifiers(base, size, device, repeats)
        else:
            changed = {"height": size, "width": size} if name == "height" else {name: size}
            seconds = _operators(Shape(**(asdict(base) | changed)), device, repeats)
        rows.append({"axis": name, "size": size, "seconds": seconds})
    counts = track(IMAGES, "Channel statistics", len(IMAGES), listen)
    statistics = [_statistics(count, device) for count in counts]
    return {
        "device": device_name(device),
        "base": asdict(base),
        "repeats": repeats,
        "curves": rows,
        "statistics_shape": asdict(STATISTICS_SHAPE),
        "statistics": statistics,
        "processes": bench_processes(device, repeats=repeats, listen=listen),
        "environment": environment(),
    }


def _operators(shape: Shape, device: torch.device, repeats: int) -> dict[str, float]:
    return {
        f"{case.operator} {case.direction}": _seconds(
            case.ours, case.inputs, device, repeats, backward=case.direction != "forward"
        )
        for case in cases(shape, device)
    }


def _classifiers(base: Shape, classes: int, device: torch.device, repeats: int) -> dict[str, float]:
    classifiers = PartClassifiers(base.parts, base.channels, classes).to(device)
    labels = torch.arange(base.batch, device=device) % classes

    def inputs() -> tuple[Tensor, ...]:
        features = torch.randn(base.batch, base.parts, base.channels, device=device)
        return features, *classifiers.parameters()

    def loss(features: Tensor, *_: Tensor) -> Tensor:
        return part_classification_loss(classifiers(features), labels)

    return {
        f"classifiers and loss {direction}": _seconds(
            loss, inputs, device, repeats, backward=direction == "backward"
        )
        for direction in ("forward", "backward")
    }


def _seconds(
    run: Callable[..., Any],
    inputs: Callable[[], tuple[Tensor, ...]],
    device: torch.device,
    repeats: int,
    *,
    backward: bool,
) -> float:
    """Median time of a function, or of differentiating it by those inputs that ask for it."""
    clock, given = Clock(device), inputs()
    for _ in range(WARM_UP + repeats):
        clock.time_call(run, given, backward=backward)
    return clock.read(WARM_UP).median


def _statistics(images: int, device: torch.device) -> dict[str, float]:
    """Peaks and Gram matrix of generated features, batch by batch."""
    draw = torch.Generator(device).manual_seed(0)
    shape = STATISTICS_SHAPE
    size = (shape.batch, shape.channels, shape.height, shape.width)
    gram = torch.zeros(shape.channels, shape.channels, dtype=torch.int64, device=device)
    resident = _memory(device)
    before = most = resident()
    began = perf_counter()
    for _ in range(-(-images // shape.batch)):
        features = torch.randn(size, generator=draw, device=device)
        peak_gram(channel_peaks(features), out=gram)
        most = max(most, resident())
    gram.sum().item()
    return {
        "images": images,
        "seconds": perf_counter() - began,
        "memory_growth_bytes": most - before,
    }


def _memory(device: torch.device) -> Callable[[], int]:
    if device.type == "cuda":
        return partial(torch.cuda.memory_allocated, device)
    pages = Path("/proc/self/statm")
    return lambda: int(pages.read_text().split()[1]) * 4096
