"""Alternating optimisation (PAPER.md 7).

A round is a grouping phase, in which the convolutions are fixed and the grouping layers follow
L_cng, a convolution phase, in which the grouping layers are fixed and convolutions and classifiers
follow L_cls, and a validation. The baseline has no grouping phase.

What comes next depends on the position and the tensors alone: batches, augmentation, random numbers
and rates are functions of the position. So a run continues from any step as if never stopped.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from macnn import world
from macnn.config.settings import TrainSettings
from macnn.data.loaders import Batch, Loader, frame, mix
from macnn.evaluation.evaluate import predict
from macnn.evaluation.telemetry import collapse_warning
from macnn.events import Listener, Metrics, Notice, Progress
from macnn.model import Network
from macnn.training.average import MovingAverage
from macnn.training.fixed_features import FixedFeatures
from macnn.training.losses import anchor_loss, classification_loss, grouping_objective
from macnn.training.optimisers import (
    convolution_optimiser,
    grouping_optimiser,
    load_optimiser,
    optimiser_tensors,
    set_rates,
)
from macnn.training.stepper import Stepper
from macnn.training.tally import Tally

REPORT_EVERY = 5  # steps; reporting waits for the device

Phase = Literal["anchors", "grouping", "convolution", "validation"]


@dataclass
class Position:
    """How far training has come."""

    round: int = 0
    phase: Phase = "anchors"
    done: int = 0  # steps of this phase
    step: int = 0  # optimiser steps in all
    losses: list[float] = field(default_factory=list)  # mean loss of each phase, newest last
    warned: bool = False  # whether the user was told that parts collapse


class Alternation:
    """Trains a network phase by phase.

    `after_step` is called after every optimiser step, when everything may be saved; `validate`
    in every validation phase.
    """

    def __init__(
        self,
        network: Network,
        training: Loader,
        still: Loader,
        settings: TrainSettings,
        listen: Listener,
        *,
        scratch: Path,
        mirrors: bool,
        after_step: Callable[[], None],
        validate: Callable[[], None],
    ) -> None:
        """Set up optimisers; nothing is trained yet.

        Args:
            network: to train, in place.
            training: training images for the convolution phase, shuffled and augmented.
            still: the same images, not augmented, for anchors and grouping phase.
            settings: of the training.
            listen: hears of progress, metrics and collapsing parts.
            scratch: folder for features that are kept on disk.
            mirrors: whether the grouping phase mirrors half of its images.
            after_step: see above.
            validate: see above.
        """
        self.network, self.training, self.still = network, training, still
        self.settings, self.listen = settings, listen
        self.after_step, self.validate = after_step, validate
        self.position = Position()
        self.device = next(network.parameters()).device
        self.tally = Tally(settings.margin)
        self.anchors: Tensor | None = None  # (images, N, 2) parts in pixels of stored images
        self.average = MovingAverage(network, settings.ema) if settings.ema else None
        photographs = training.photographs
        self.stepper = Stepper(
            settings,
            photographs.images,
            self.device,
            scale_loss=network.backbone.compute_dtype == torch.float16,
        )
        self.optimiser: SGD = convolution_optimiser(network, settings)
        self.grouping_optimiser: Optimizer | None = None
        self.features: FixedFeatures | None = None
        if network.grouping is not None:
            self.grouping_optimiser = grouping_optimiser(network, settings)
            self.features = FixedFeatures(
                network, still, settings, scratch, listen, mirrors=mirrors
            )
        self.seconds = {"grouping": 0.0, "convolution": 0.0}  # since this process started
        self.steps = {"grouping": 0, "convolution": 0}

    @property
    def finished(self) -> bool:
        """Whether all rounds are done, or neither loss changes any more."""
        position, settings = self.position, self.settings
        if position.round >= settings.rounds:
            return True
        per_round = 2 if self._groups else 1
        if settings.tolerance == 0 or position.round < 2 or position.phase != "grouping":
            return False
        new, old = position.losses[-per_round:], position.losses[-2 * per_round : -per_round]
        return all(
            abs(now - before) <= settings.tolerance * abs(before)
            for now, before in zip(new, old, strict=True)
        )

    def run(self) -> None:
        """Train until finished, from wherever the position is.

        Raises:
            NonFiniteError: a loss or gradient was not finite; no later step has been taken.
            Stopped: the run was asked to stop; everything can be saved.
        """
        work: dict[Phase, tuple[Callable[[], None], Phase]] = {
            "anchors": (self._drop_anchors, "grouping"),
            "grouping": (self._grouping_phase, "convolution"),
            "convolution": (self._convolution_phase, "validation"),
            "validation": (self.validate, "grouping"),
        }
        while not self.finished:
            phase, following = work[self.position.phase]
            phase()
            if self.position.phase == "validation":
                self.position.round += 1
            self.position.phase, self.position.done = following, 0

    @property
    def _groups(self) -> bool:
        return self.network.grouping is not None and self.settings.grouping_steps > 0

    def _drop_anchors(self) -> None:
        """Note where every part of every training image is before anything is trained."""
        if self.network.grouping is None or self.settings.anchor_weight == 0:
            return
        found = predict(
            self.network,
            self.still,
            margin=self.settings.margin,
            task="Anchoring parts",
            listen=self.listen,
        )
        assert found.centres is not None
        self.anchors = found.centres.to(self.device)

    def _grouping_phase(self) -> None:
        """Convolutions fixed: train the grouping layers on L_cng."""
        if not self._groups:
            return
        assert self.features is not None
        assert self.grouping_optimiser is not None
        network, position, total = self.network, self.position, self.settings.grouping_steps
        network.eval()
        start = position.round * total + position.done
        drawn = self.features.phase(start, total - position.done, total)
        with _only(network, network.grouping):
            maps = world.parallel(_Maps(network))

            def loss_of(piece: Batch) -> Tensor:
                attention: Tensor = maps(piece.images)
                loss = grouping_objective(attention, self.settings).total
                self.tally.add(len(attention), attention, cng=loss)
                return loss + self._anchored(attention, piece)

            for batch in self._timed("grouping", drawn):
                self._step("grouping", total, self.grouping_optimiser, maps, batch, loss_of)
        self._end_of_phase("grouping", "cng")

    def _convolution_phase(self) -> None:
        """Grouping layers fixed: train convolutions and classifiers on L_cls."""
        network, position, loader = self.network, self.position, self.training
        network.train()
        per_epoch = len(loader)
        total = self.settings.epochs * per_epoch
        with _only(network, network.backbone, network.classifiers):
            module = world.parallel(network)

            def loss_of(piece: Batch) -> Tensor:
                return self._convolution_loss(module, piece)

            while position.done < total:
                epoch = position.round * self.settings.epochs + position.done // per_epoch
                batches = loader.epoch(epoch, position.done % per_epoch)
                for batch in self._timed("convolution", batches):
                    behind = position.round * total + position.done
                    set_rates(
                        self.optimiser, behind / (self.settings.rounds * total), self.settings
                    )
                    there = batch.to(self.device)
                    self._step("convolution", total, self.optimiser, module, there, loss_of)
        # Batch norms have seen different images in every process.
        world.share(network.buffers())
        if self.average is not None:
            world.share(self.average.weights.values())
        self._end_of_phase("convolution", "cls")

    def _convolution_loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """L_cls, and what keeps the maps in place meanwhile."""
        settings = self.settings
        logits, attention = module(batch.images)
        loss = classification_loss(logits, batch.labels)
        right = logits.detach().sum(dim=1).argmax(dim=1) == batch.labels
        self.tally.add(len(batch.labels), attention, cls=loss, accuracy=right.float().mean())
        if attention is not None and settings.conv_grouping_weight > 0:
            grouping = grouping_objective(attention, settings).total
            self.tally.add(len(batch.labels), cng=grouping)
            loss = loss + settings.conv_grouping_weight * grouping
        return loss if attention is None else loss + self._anchored(attention, batch)

    def _anchored(self, attention: Tensor, batch: Batch) -> Tensor:
        """What it costs that maps have left their anchors; 0 without anchors."""
        if self.anchors is None:
            return attention.new_zeros(())
        points = frame(self.anchors[batch.samples], batch.frames)
        loss = anchor_loss(attention, self.network.grid.to_fractions(points))
        self.tally.add(len(attention), anchor=loss)
        return self.settings.anchor_weight * loss

    def _step(
        self,
        phase: str,
        total: int,
        optimiser: Optimizer,
        module: nn.Module,
        batch: Batch,
        loss_of: Callable[[Batch], Tensor],
    ) -> None:
        """Take one step, and say so."""
        position = self.position
        # Random layers draw by step and process, whatever happened before.
        torch.manual_seed(mix(self.training.photographs.seed, position.step, world.rank()))
        self.stepper.step(position.step + 1, optimiser, module, batch, loss_of)
        position.step += 1
        position.done += 1
        if self.average is not None:
            self.average.update(position.step)
        if position.done % REPORT_EVERY == 0 or position.done == total:
            self.stepper.check()
            self._progress(phase, total)
        self.after_step()

    def _timed(self, phase: str, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches; the time they and the work on them take is added up."""
        began = perf_counter()
        for batch in batches:
            yield batch
            now = perf_counter()
            self.seconds[phase] += now - began
            self.steps[phase] += 1
            began = now

    def _progress(self, phase: str, total: int) -> None:
        figures = self.tally.means(everywhere=False)
        maps = self.tally.maps(everywhere=False)
        if maps is not None and maps.peak_distance is not None:
            figures |= {"peaks apart": maps.peak_distance}
        if maps is not None:
            figures |= {"div": sum(maps.diversity) / len(maps.diversity)}
        task = f"Round {self.position.round + 1}/{self.settings.rounds}, {phase} phase"
        self.listen(Progress(task, self.position.done, total, figures))

    def _end_of_phase(self, phase: str, loss: str) -> None:
        position, values = self.position, self.tally.means(everywhere=True)
        position.losses.append(values[loss])
        maps = self.tally.maps(everywhere=True)
        if maps is not None:
            values |= maps.values()
            warning = collapse_warning(maps)
            if warning and not position.warned:
                self.listen(Notice("warning", warning))
                position.warned = True
        self.listen(Metrics(phase, position.step, {"round": position.round + 1, **values}))
        self.tally = Tally(self.settings.margin)

    def summary(self) -> dict[str, Any]:
        """How far training came, and what its steps took in this process, in seconds."""
        position, per_epoch = self.position, len(self.training)
        took, steps = self.seconds["convolution"], self.steps["convolution"]
        summary: dict[str, Any] = {
            "rounds": position.round,
            "steps": position.step,
            "epochs": position.round * self.settings.epochs,
            "seconds_per_epoch": took / steps * per_epoch if steps else None,
            "data_wait_share": self.training.waited / took if steps else None,
        }
        if self.features is not None and self.steps["grouping"]:
            summary["grouping"] = self.features.summary(
                self.seconds["grouping"], self.steps["grouping"]
            )
        return summary

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the network have the weights that count: the averaged ones, if there are any."""
        if self.average is None:
            yield
            return
        with self.average.applied():
            yield

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and facts that decide all that follows, beside the weights that count.

        Every process calls this at the same step; what it gives is the same in all of them.
        """
        self.stepper.check()
        tensors = {f"tally.{k}": v for k, v in self.tally.tensors().items()}
        for name, optimiser in self._optimisers().items():
            tensors |= {f"{name}.{k}": v for k, v in optimiser_tensors(optimiser).items()}
        if self.average is not None:
            # Cloned, for the average takes the place of the weights when these are saved.
            weights = self.network.state_dict()
            tensors |= {f"raw.{name}": value.clone() for name, value in weights.items()}
        if self.anchors is not None:
            tensors["anchors"] = self.anchors
        return tensors, {
            "position": asdict(self.position),
            "scaler": self.stepper.scaler.state_dict(),
        }

    def load(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Continue from a `state`; the network holds the weights that count."""
        self.position = Position(**facts["position"])
        self.stepper.scaler.load_state_dict(facts["scaler"])
        groups: dict[str, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            kind, _, rest = name.partition(".")
            groups.setdefault(kind, {})[rest] = value
        if self.average is not None:
            self.average.load(self.network.state_dict())
            self.network.load_state_dict(groups["raw"])
        self.tally.load(groups.get("tally", {}), self.device)
        if "anchors" in tensors:
            self.anchors = tensors["anchors"].to(self.device)
        for name, optimiser in self._optimisers().items():
            load_optimiser(optimiser, groups.get(name, {}))

    def _optimisers(self) -> dict[str, Optimizer]:
        found: dict[str, Optimizer] = {"sgd": self.optimiser}
        if self.grouping_optimiser is not None:
            found["adam"] = self.grouping_optimiser
        return found


class _Maps(nn.Module):
    """The network behind the convolutions, as far as L_cng looks."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> Tensor:
        attention = self.network.recognise(features).attention
        assert attention is not None
        return attention


@contextmanager
def _only(network: nn.Module, *trained: nn.Module | None) -> Iterator[None]:
    """Fix everything but these modules while inside."""
    network.requires_grad_(False)
    for module in trained:
        if module is not None:
            module.requires_grad_(True)
    try:
        yield
    finally:
        network.requires_grad_(True)
