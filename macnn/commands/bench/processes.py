"""Scaling over processes on this machine, started as torchrun does.

On the CPU every process has one thread, on CUDA one GPU; no more processes than of these.
"""

import os
from functools import partial
from statistics import median
from time import perf_counter

import torch
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from macnn import distributed
from macnn.config import Settings
from macnn.events import Listener, silent, track
from macnn.runs.models import new_macnn
from macnn.runs.setup import to_device
from macnn.training.losses import part_classification_loss
from macnn_kernels import channel_peaks, peak_gram

FEATURES = (64, 64, 14, 14)  # of a batch, for the channel statistics
BATCHES = 120  # of them, shared by all processes
IMAGES = 16  # a training step of each process
CLASSES = 10
WARM_UP = 2


def bench_processes(
    device: torch.device, *, repeats: int, listen: Listener = silent
) -> list[dict[str, float]]:
    """Measure 1, 2, 4, ... processes.

    Of each number: "statistics_seconds", channel statistics of the same generated features, shared,
    and the sum of the Gram matrices; "step_seconds", the median training step of a small network
    with `IMAGES` generated images for every process, gradients averaged.
    """
    most = torch.cuda.device_count() if device.type == "cuda" else os.cpu_count() or 1
    counts = [2**i for i in range(most.bit_length()) if 2**i <= most]
    measure = partial(_together, device.type, repeats)
    return [
        {"processes": count, **measure(count)}
        for count in track(counts, "Processes", len(counts), listen)
    ]


def _together(device_type: str, repeats: int, count: int) -> dict[str, float]:
    launch = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id="bench",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        start_method="spawn",
        max_restarts=0,
        monitor_interval=0.1,
    )
    found: dict[int, dict[str, float]] = elastic_launch(launch, _one)(device_type, repeats)
    return {name: max(one[name] for one in found.values()) for name in found[0]}


def _one(device_type: str, repeats: int) -> dict[str, float]:
    """What one of the processes measures."""
    torch.set_num_threads(1)
    device = torch.device(device_type, distributed.local_rank() if device_type == "cuda" else 0)
    with distributed.process_group(timeout=60):
        return {"statistics_seconds": _statistics(device), "step_seconds": _step(device, repeats)}


def _statistics(device: torch.device) -> float:
    features = torch.randn(FEATURES, device=device)
    gram = torch.zeros(FEATURES[1], FEATURES[1], dtype=torch.int64, device=device)
    for _ in range(WARM_UP):
        distributed.all_reduce(peak_gram(channel_peaks(features), out=gram)).sum().item()
    distributed.barrier()
    began = perf_counter()
    for _ in range(distributed.rank(), BATCHES, distributed.world_size()):
        peak_gram(channel_peaks(features), out=gram)
    distributed.all_reduce(gram).sum().item()
    return perf_counter() - began


def _step(device: torch.device, repeats: int) -> float:
    settings = Settings()
    model = to_device(new_macnn(settings, CLASSES)[1], settings, device).train()
    size = model.image_size
    images = torch.randint(256, (IMAGES, 3, size, size), dtype=torch.uint8, device=device)
    labels = torch.arange(IMAGES, device=device) % CLASSES
    trained = [*model.backbone.parameters(), *model.classifiers.parameters()]
    model.grouping.requires_grad_(False)
    optimiser = torch.optim.SGD(trained, lr=1e-6, fused=True)
    module = distributed.data_parallel(model)
    took = []
    for _ in range(WARM_UP + repeats):
        began = perf_counter()
        optimiser.zero_grad()
        part_classification_loss(module(images).classifier_logits, labels).backward()
        optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        took.append(perf_counter() - began)
    return median(took[WARM_UP:])
