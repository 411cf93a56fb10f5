"""Every phase of training, as macnn runs it and as it is usually written.

A round of the measurement takes one step of each in turn, so that other load on the machine
affects all of them alike; figures are medians over rounds.
"""

import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from macnn.commands.bench.clock import Clock, Timing, device_name
from macnn.commands.bench.implementations import Implementation, ours, step_with, usual
from macnn.config import Settings
from macnn.data.layouts.cub import read_cub
from macnn.data.loaders import Batch, Loader
from macnn.data.synth import write_birds
from macnn.events import Listener, silent, track
from macnn.runs.environment import environment
from macnn.runs.models import new_macnn, new_pooled
from macnn.runs.setup import open_loader, to_device
from macnn.training.losses import part_classification_loss
from macnn.training.optimisers import feature_optimiser
from macnn.training.train_step import TrainStep
from macnn_kernels import backend

CLASSES = 16
BATCHES = 4  # decoded ahead; the steps take turns on them
WARM_UP = 2

Step = Callable[[int], object]  # takes the number of a batch


def bench_training(
    settings: Settings, device: torch.device, *, repeats: int, listen: Listener = silent
) -> dict[str, Any]:
    """Measure all phases; returns figures as JSON types.

    Every phase has images per second, seconds of a step by implementation ("macnn"; "reference",
    the same with plain PyTorch operators, on CUDA; "plain", the module as usually written;
    "backbone", the global-average-pool baseline's step), their ratios to "macnn", the split of its
    step in seconds, and on CUDA the most memory allocated.

    Args:
        settings: backbone, sizes, precision, loader processes.
        device: where to run.
        repeats: rounds behind every figure.
        listen: called with progress events.
    """
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(settings, device, Path(folder), repeats)
        named = bench.phases()
        phases = [
            phase() | {"phase": name} for name, phase in track(named, "Phases", len(named), listen)
        ]
        data = bench.data()
    return {
        "device": device_name(device),
        "backbone": settings.model.backbone,
        "image_size": settings.data.image_size,
        "batch_size": settings.data.batch_size,
        "parts": settings.model.parts,
        "map": list(bench.model.map_shape),
        "precision": settings.run.precision,
        "workers": settings.data.workers,
        "repeats": repeats,
        "phases": phases,
        "data": data,
        "peak_resident_bytes": getrusage(RUSAGE_SELF).ru_maxrss * 1024,
        "environment": environment(),
    }


class _Bench:
    """Models, batches and steps of one measurement."""

    def __init__(
        self, settings: Settings, device: torch.device, folder: Path, repeats: int
    ) -> None:
        self.device, self.repeats, self.batch_size = device, repeats, settings.data.batch_size
        birds = folder / "birds"
        each = -(-2 * BATCHES * self.batch_size // CLASSES)  # half of them are training images
        size = round(settings.data.image_size * 8 / 7)
        write_birds(birds, classes=CLASSES, images_per_class=max(each, 2), size=size, seed=0)
        images = read_cub(birds).split("train")
        self.loader: Loader = open_loader(settings, images, augment="flip", shuffle=True)
        drawn = [batch.to(device) for batch in self.loader.epoch()]
        self.batches: list[Batch] = [b for b in drawn if len(b.labels) == self.batch_size]

        train, scale = settings.train, settings.run.precision == "fp16"
        self.model = to_device(new_macnn(settings, CLASSES)[1], settings, device)
        self.pooled = to_device(new_pooled(settings, CLASSES)[1], settings, device)
        self.train_step = TrainStep(
            device,
            grad_accum_steps=train.grad_accum_steps,
            clip_grad_norm=train.clip_grad_norm,
            scale_loss=scale,
            describe=self.loader.describe,
        )
        self.ours = ours(self.model, train, self.train_step)
        self.usual = usual(self.model, train)
        self.pooled_optimiser = feature_optimiser(self.pooled, train.optimizer, train.rates)
        self.weight = train.conv_grouping_weight

    def phases(self) -> list[tuple[str, Callable[[], dict[str, Any]]]]:
        return [
            ("statistics", self._statistics),
            ("grouping", self._grouping),
            ("convolution", self._convolution),
            ("evaluation", self._evaluation),
        ]

    def data(self) -> dict[str, float]:
        """A convolution epoch with its loading: what the loader makes it wait."""
        self.model.train()
        before, began = self.loader.waited, perf_counter()
        for i, _ in enumerate(self.loader.epoch(1)):
            self._convolved(self.ours)(i % len(self.batches))
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        waited, took = self.loader.waited - before, perf_counter() - began
        return {"seconds_waited_per_step": waited / len(self.loader), "share": waited / took}

    def _statistics(self) -> dict[str, Any]:
        channels = self.model.map_shape[0]
        gram = torch.zeros(channels, channels, dtype=torch.int64, device=self.device)
        self.model.eval()

        def step(way: Implementation) -> Step:
            return torch.no_grad()(lambda i: way.count(self._features(i), gram))

        return self._measured(self._both(step), {"backbone": self._features})

    def _grouping(self) -> dict[str, Any]:
        self.model.eval()
        self.model.requires_grad_(False)
        self.model.grouping.requires_grad_(True)

        def loss(way: Implementation, features: Tensor) -> Tensor:
            return way.grouping_loss(way.classify(features)[1])

        def step(way: Implementation) -> Step:
            def taken(i: int) -> None:
                batch = replace(self.batches[i], images=self._features(i))
                way.take(way.grouping_optimiser, batch, lambda part: loss(way, part.images))

            return taken

        measured = self._measured(
            self._both(step),
            {
                "features": self._features,
                "forward": lambda i: loss(self.ours, self._features(i)),
                "backward": lambda i: loss(self.ours, self._features(i)).backward(),
            },
        )
        self.model.requires_grad_(True)
        return measured

    def _convolution(self) -> dict[str, Any]:
        self.model.train()
        self.pooled.train()
        self.model.grouping.requires_grad_(False)
        measured = self._measured(
            {**self._both(self._convolved), "backbone": self._pooled_step},
            {
                "backbone": lambda i: self.model.backbone(self.batches[i].images),
                "forward": lambda i: self._loss(self.ours, self.batches[i]),
                "backward": lambda i: self._loss(self.ours, self.batches[i]).backward(),
            },
        )
        self.model.requires_grad_(True)
        return measured

    def _convolved(self, way: Implementation) -> Step:
        return lambda i: way.take(
            way.feature_optimiser, self.batches[i], lambda part: self._loss(way, part)
        )

    def _loss(self, way: Implementation, batch: Batch) -> Tensor:
        logits, maps = way.classify(self.model.backbone(batch.images))
        loss = way.classification_loss(logits, batch.labels)
        return loss + self.weight * way.grouping_loss(maps) if self.weight else loss

    def _pooled_step(self, i: int) -> None:
        def loss(part: Batch) -> Tensor:
            logits = self.pooled(part.images).classifier_logits
            return part_classification_loss(logits, part.labels)

        step_with(self.train_step, self.pooled, self.pooled_optimiser, self.batches[i], loss)

    def _evaluation(self) -> dict[str, Any]:
        self.model.eval()

        def step(way: Implementation) -> Step:
            return torch.no_grad()(lambda i: way.classify(self._features(i)))

        return self._measured(self._both(step), {"backbone": self._features})

    def _both(self, step: Callable[[Implementation], Step]) -> dict[str, Step]:
        return {"macnn": step(self.ours), "plain": step(self.usual)}

    @torch.no_grad()
    def _features(self, i: int) -> Tensor:
        features: Tensor = self.model.backbone(self.batches[i].images)
        return features

    def _measured(self, steps: dict[str, Step], prefixes: dict[str, Step]) -> dict[str, Any]:
        """Time steps, and ever longer beginnings of the first one, whose differences split it."""
        cuda = self.device.type == "cuda"
        runs: dict[str, Step] = {**steps, **{f"/{name}": step for name, step in prefixes.items()}}
        if cuda:
            runs["reference"] = steps["macnn"]
            torch.cuda.reset_peak_memory_stats(self.device)
            steps["macnn"](0)
            peak = torch.cuda.max_memory_allocated(self.device)
        clocks = {name: Clock(self.device) for name in runs}
        for round_ in range(WARM_UP + self.repeats):
            first = round_ % len(runs)  # nothing always follows the same thing
            for name, step in (*list(runs.items())[first:], *list(runs.items())[:first]):
                reference = backend.selected("reference") if name == "reference" else nullcontext()
                with reference:
                    i = round_ % len(self.batches)
                    clocks[name].time(partial(step, i))
        times: dict[str, Timing] = {name: clock.read(WARM_UP) for name, clock in clocks.items()}
        seconds = {name: time.median for name, time in times.items() if not name.startswith("/")}
        split, before = {}, 0.0
        for name, until in [*((n, times[f"/{n}"].median) for n in prefixes), ("rest", 0.0)]:
            now = until or seconds["macnn"]
            split[name], before = max(now - before, 0.0), now
        return {
            "images_per_second": self.batch_size / seconds["macnn"],
            "seconds": seconds,
            "ratios": {n: s / seconds["macnn"] for n, s in seconds.items() if n != "macnn"},
            "split": split,
            "peak_bytes": peak if cuda else None,
        }
