"""The processes that train together, as torchrun starts them. A single process has world size 1.

Collectives run on the device of their tensors: NCCL for CUDA, gloo for the CPU.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def local_rank() -> int:
    """Number of this process on its machine: the GPU it takes."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def local_world_size() -> int:
    """Processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


@contextmanager
def process_group(timeout: int) -> Iterator[None]:
    """Join the process group while inside; does nothing unless torchrun started this process.

    A process that does not answer within `timeout` seconds counts as lost, and ends this one.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(local_rank())
    wait = timedelta(seconds=timeout)
    store, number, count = next(rendezvous("env://", timeout=wait))
    # torchrun may keep its store over a restart: do not read the addresses of dead processes.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    fresh = dist.PrefixStore(attempt, store)  # type: ignore[attr-defined]
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if cuda else "gloo",
        store=fresh,
        rank=number,
        world_size=count,
        timeout=wait,
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def barrier() -> None:
    """Wait for all processes."""
    all_reduce(torch.zeros(()))


def all_reduce(tensor: Tensor) -> Tensor:
    """The sum of a tensor over all processes, exact for integers; `tensor` itself stays."""
    if world_size() == 1:
        return tensor
    summed = tensor.clone()
    dist.all_reduce(summed)
    return summed


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process."""
    return flag if world_size() == 1 else all_reduce(torch.tensor(int(flag))).item() > 0


def all_reduce_max(tensor: Tensor) -> Tensor:
    """Reduce a tensor, in place, to its largest value over all processes; does not wait."""
    if world_size() > 1:
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return tensor


def all_gather(tensor: Tensor) -> list[Tensor]:
    """A tensor of every process, in order of rank; they may differ in their first size."""
    if world_size() == 1:
        return [tensor]
    counts = [torch.zeros((), dtype=torch.int64) for _ in range(world_size())]
    dist.all_gather(counts, torch.tensor(len(tensor)))
    longest = max(int(count) for count in counts)
    padded = tensor.new_zeros(longest, *tensor.shape[1:])
    padded[: len(tensor)] = tensor
    gathered = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(gathered, padded)
    return [part[: int(count)] for part, count in zip(gathered, counts, strict=True)]


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors with those of the first process."""
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, src=0)


def data_parallel(module: nn.Module) -> nn.Module:
    """A module whose gradients are averaged over all processes."""
    return module if world_size() == 1 else DistributedDataParallel(module)
