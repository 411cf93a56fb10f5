"""One optimiser step: micro-batches, loss scaling, clipping, and nothing that is not finite.

Whether a loss or gradient is finite is decided on the device: from the first bad step on, steps
change nothing, and the host learns of it when it next asks. So no step waits for the device.
"""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from macnn import distributed
from macnn.config.training import TrainSettings
from macnn.data.loaders import Batch
from macnn.data.samples import ImageSet
from macnn.errors import NonFiniteError


class TrainStep:
    """Takes optimiser steps on one device."""

    def __init__(
        self, settings: TrainSettings, images: ImageSet, device: torch.device, *, scale_loss: bool
    ) -> None:
        """Nothing has been stepped yet.

        Args:
            settings: clipping and accumulation.
            images: what samples are named from in messages.
            device: of the network.
            scale_loss: whether gradients are in fp16, whose range needs it.
        """
        self.settings = settings
        self.images = images
        self.scaler = torch.amp.GradScaler(device.type, enabled=scale_loss)
        self.faulty = torch.zeros((), device=device)  # number of the first bad step, or 0
        self.recent: list[tuple[int, Tensor, Tensor]] = []  # step, samples, bad loss; unchecked yet

    def step(
        self,
        number: int,
        optimiser: Optimizer,
        module: nn.Module,
        batch: Batch,
        loss_of: Callable[[Batch], Tensor],
    ) -> None:
        """Take step `number`.

        Args:
            number: of the step, for messages.
            optimiser: a fused one, which can skip a step on the device.
            module: what `loss_of` runs, maybe wrapped by `distributed.data_parallel`.
            batch: this process's share of the batch.
            loss_of: mean loss of the images it is given, a scalar.
        """
        optimiser.zero_grad()
        pieces = batch.split(self.settings.grad_accum_steps)
        fault = torch.zeros((), dtype=torch.bool, device=self.faulty.device)
        for left, piece in zip(reversed(range(len(pieces))), pieces, strict=True):
            more = left and isinstance(module, DistributedDataParallel)
            with module.no_sync() if more else nullcontext():  # type: ignore[operator]
                loss = loss_of(piece)
                share = len(piece.labels) * distributed.world_size() / batch.total
                self.scaler.scale(loss * share).backward()
            fault = fault | ~loss.detach().isfinite()
        self.scaler.unscale_(optimiser)
        trained = [p for group in optimiser.param_groups for p in group["params"]]
        norm = get_total_norm([p.grad for p in trained if p.grad is not None])
        if self.settings.clip_grad_norm:
            clip_grads_with_norm_(trained, self.settings.clip_grad_norm, norm)
        self.recent.append((number, batch.samples, fault))
        unscaled = not self.scaler.is_enabled()
        if unscaled:  # else a gradient out of range is met by a smaller scale
            fault = fault | ~norm.isfinite()
        self.faulty = torch.where(fault & (self.faulty == 0), number, self.faulty)
        distributed.all_reduce_max(self.faulty)
        if unscaled:
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
            names = ", ".join(str(self.images.samples[i].path) for i in samples.tolist())
            if distributed.world_size() > 1 and not bad_loss.item():
                names = "images of another process, which names them"
            raise NonFiniteError(
                f"loss or gradient not finite at step {at}, on {names}",
                hint="lower --lr or --grouping-lr",
            )
        if self.scaler.is_enabled() and self.scaler.get_scale() < 1:
            raise NonFiniteError(
                f"gradients leave the range of fp16 at step {self.recent[-1][0]}",
                hint="use --precision bf16",
            )
        self.recent.clear()
