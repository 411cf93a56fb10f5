"""One optimiser step: micro-batches, loss scaling, clipping, and nothing that is not finite.

Whether a loss or gradient is finite is decided on the device: from the first bad step on, steps
change nothing, and the host learns of it when it next asks. So no step waits for the device.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from macnn import distributed
from macnn.data.loaders import Batch
from macnn.errors import NonFiniteError


class TrainStep:
    """Takes optimiser steps on one device.

    for micro_batch in train_step.micro_batches(step, batch, module):
        train_step.backward(loss(module(micro_batch.images)), micro_batch)
    train_step.update(optimiser)
    """

    def __init__(
        self,
        device: torch.device,
        *,
        grad_accum_steps: int,
        clip_grad_norm: float,
        scale_loss: bool,
        describe: Callable[[Tensor], str],
    ) -> None:
        """Nothing has been stepped yet.

        Args:
            device: of the model.
            grad_accum_steps: micro-batches per optimiser step.
            clip_grad_norm: largest norm of the gradient, beyond it is scaled down; 0 is off.
            scale_loss: whether gradients are in fp16, whose range needs it.
            describe: what samples (B,) are called in a message.
        """
        self.grad_accum_steps, self.clip_grad_norm = grad_accum_steps, clip_grad_norm
        self.describe = describe
        self.scaler = torch.amp.GradScaler(device.type, enabled=scale_loss)
        self.step = 0  # the one that is being taken
        self.faulty = torch.zeros((), device=device)  # number of the first bad step, or 0
        self.fault = self.faulty > 0  # whether a loss of this step is bad
        self.recent: list[tuple[int, Tensor, Tensor]] = []  # step, samples, bad loss; unchecked yet

    def micro_batches(self, step: int, batch: Batch, module: nn.Module) -> Iterator[Batch]:
        """Begin step number `step`, on this process's share of a batch, piece by piece.

        A module of `distributed.data_parallel` averages gradients after the last piece only.
        """
        self.step = step
        self.fault = torch.zeros_like(self.fault)
        pieces = batch.split(self.grad_accum_steps)
        for left, piece in zip(reversed(range(len(pieces))), pieces, strict=True):
            more = left and isinstance(module, DistributedDataParallel)
            with module.no_sync() if more else nullcontext():  # type: ignore[operator]
                yield piece
        self.recent.append((step, batch.samples, self.fault))

    def backward(self, loss: Tensor, micro_batch: Batch) -> None:
        """Add the gradients of the mean loss of a micro-batch, a scalar."""
        share = len(micro_batch.labels) * distributed.world_size() / micro_batch.total
        self.scaler.scale(loss * share).backward()
        self.fault = self.fault | ~loss.detach().isfinite()

    def update(self, optimiser: Optimizer) -> None:
        """Take the step.

        A fused optimiser can skip it on the device; for any other one the host waits to know.
        """
        self.scaler.unscale_(optimiser)
        trained = [p for group in optimiser.param_groups for p in group["params"]]
        norm = get_total_norm([p.grad for p in trained if p.grad is not None])
        if self.clip_grad_norm:
            clip_grads_with_norm_(trained, self.clip_grad_norm, norm)
        fault, unscaled = self.fault, not self.scaler.is_enabled()
        if unscaled:  # else a gradient out of range is met by a smaller scale
            fault = fault | ~norm.isfinite()
        self.faulty = torch.where(fault & (self.faulty == 0), self.step, self.faulty)
        distributed.all_reduce_max(self.faulty)
        if not optimiser.defaults.get("fused"):
            if unscaled and self.faulty:
                return
        elif unscaled:
            optimiser.found_inf = (self.faulty > 0).float()  # type: ignore[attr-defined]
            optimiser.grad_scale = None  # type: ignore[attr-defined]
        self.scaler.step(optimiser)
        self.scaler.update()

    def check(self) -> None:
        """Wait for the device, and learn whether all steps so far were sound.

        Raises:
            NonFiniteError: one was not; weights and averages are those before it.
        """
        if number := int(self.faulty.item()):
            at, samples, bad_loss = next(r for r in self.recent if r[0] == number)
            names = self.describe(samples)
            if distributed.world_size() > 1 and not bad_loss.item():
                names = "images of another process, which names them"
            raise NonFiniteError(
                f"loss or gradient not finite at step {at}, on {names}",
                hint="lower `train.lr` or `train.grouping_lr`",
            )
        if self.scaler.is_enabled() and self.scaler.get_scale() < 1:
            raise NonFiniteError(
                f"gradients leave the range of fp16 at step {self.recent[-1][0]}",
                hint="use `run.precision=bf16`",
            )
        self.recent.clear()
