"""What every training shares: rounds of phases, steps over epochs, and a state to go on from.

What comes next depends on the position and the tensors alone: batches, augmentation, random numbers
and rates are functions of the position. So a run continues from any step as if never stopped.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from macnn import world
from macnn.config.training import TrainSettings
from macnn.data.loaders import Batch, Loader, mix
from macnn.evaluation.telemetry import TelemetryFigures
from macnn.events import Listener, Metrics, Progress
from macnn.model import Model
from macnn.model.backbones import Backbone
from macnn.training.average import MovingAverage
from macnn.training.optimisers import load_optimiser, optimiser_tensors, set_rates
from macnn.training.stepper import Stepper
from macnn.training.tally import Tally

REPORT_EVERY = 5  # steps; reporting waits for the device


@dataclass
class Position:
    """How far training has come."""

    round: int = 0
    phase: str = ""
    done: int = 0  # steps of this phase
    step: int = 0  # optimiser steps in all


class Trainer(ABC):
    """Trains a network in rounds that end with a validation.

    `after_step` is called after every optimiser step, when everything may be saved; `validate`
    in every validation phase. `learning` is the phase that goes through the images in epochs.
    """

    learning: str

    def __init__(
        self,
        network: Model,
        training: Loader,
        settings: TrainSettings,
        listen: Listener,
        *,
        position: Position,
        rounds: int,
        epochs: int,
        optimiser: SGD,
        after_step: Callable[[], None],
        validate: Callable[[], None],
    ) -> None:
        """Nothing is trained yet.

        Args:
            network: to train, in place.
            training: training images, shuffled and augmented.
            settings: of the training.
            listen: hears of progress and metrics.
            position: the beginning.
            rounds: how many at most.
            epochs: over the images in each of them.
            optimiser: of these epochs; subclasses add others to `optimisers`.
            after_step: see above.
            validate: see above.
        """
        self.network, self.training = network, training
        self.settings, self.listen = settings, listen
        self.after_step, self.validate = after_step, validate
        self.position, self.rounds, self.epochs = position, rounds, epochs
        self.device = next(network.parameters()).device
        self.tally = Tally(settings.margin)
        self.average = MovingAverage(network, settings.ema) if settings.ema else None
        backbones = [module for module in network.modules() if isinstance(module, Backbone)]
        self.stepper = Stepper(
            settings,
            training.photographs.images,
            self.device,
            scale_loss=any(b.compute_dtype == torch.float16 for b in backbones),
        )
        self.optimiser = optimiser
        self.optimisers: dict[str, Optimizer] = {"sgd": optimiser}
        self.seconds: dict[str, float] = defaultdict(float)  # by phase, in this process
        self.steps: dict[str, int] = defaultdict(int)

    @property
    def finished(self) -> bool:
        """Whether all rounds are done."""
        return self.position.round >= self.rounds

    def run(self) -> None:
        """Train until finished, from wherever the position is.

        Raises:
            NonFiniteError: a loss or gradient was not finite; no later step has been taken.
            Stopped: the run was asked to stop; everything can be saved.
        """
        phases = self._phases()
        while not self.finished:
            phase, following = phases[self.position.phase]
            phase()
            if self.position.phase == "validation":
                self.position.round += 1
            self.position.phase, self.position.done = following, 0

    @abstractmethod
    def _phases(self) -> dict[str, tuple[Callable[[], None], str]]:
        """What is done in each phase, and the phase that follows; "validation" ends a round."""

    def _epochs(self, module: nn.Module, loss_of: Callable[[Batch], Tensor]) -> None:
        """The epochs of this round, from wherever the position is."""
        position, loader = self.position, self.training
        per_epoch = len(loader)
        total = self.epochs * per_epoch
        while position.done < total:
            epoch = position.round * self.epochs + position.done // per_epoch
            batches = loader.epoch(epoch, position.done % per_epoch)
            for batch in self._timed(self.learning, batches):
                behind = position.round * total + position.done
                set_rates(self.optimiser, behind / (self.rounds * total), self.settings)
                there = batch.to(self.device)
                self._step(self.learning, total, self.optimiser, module, there, loss_of)
        # Batch norms have seen different images in every process.
        world.share(self.network.buffers())
        if self.average is not None:
            world.share(self.average.weights.values())

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
        task = f"Round {self.position.round + 1}/{self.rounds}, {phase} phase"
        self.listen(Progress(task, self.position.done, total, figures))

    def _end_of_phase(self, phase: str) -> tuple[dict[str, float], TelemetryFigures | None]:
        """Record the means of a phase, and return them and the figures of its maps."""
        means, maps = self.tally.means(everywhere=True), self.tally.maps(everywhere=True)
        values = {"round": self.position.round + 1, **means, **(maps.values() if maps else {})}
        self.listen(Metrics(phase, self.position.step, values))
        self.tally = Tally(self.settings.margin)
        return means, maps

    def summary(self) -> dict[str, Any]:
        """How far training came, and what its epochs took in this process, in seconds."""
        took, steps = self.seconds[self.learning], self.steps[self.learning]
        return {
            "steps": self.position.step,
            "epochs": self.position.round * self.epochs,
            "seconds_per_epoch": took / steps * len(self.training) if steps else None,
            "data_wait_share": self.training.waited / took if steps else None,
        }

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
        for name, optimiser in self.optimisers.items():
            tensors |= {f"{name}.{k}": v for k, v in optimiser_tensors(optimiser).items()}
        if self.average is not None:
            # Cloned, for the average takes the place of the weights when these are saved.
            weights = self.network.state_dict()
            tensors |= {f"raw.{name}": value.clone() for name, value in weights.items()}
        return tensors, {
            "position": asdict(self.position),
            "scaler": self.stepper.scaler.state_dict(),
        }

    def load(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Continue from a `state`; the network holds the weights that count."""
        self.position = type(self.position)(**facts["position"])
        self.stepper.scaler.load_state_dict(facts["scaler"])
        groups: dict[str, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            kind, _, rest = name.partition(".")
            groups.setdefault(kind, {})[rest] = value
        if self.average is not None:
            self.average.load(self.network.state_dict())
            self.network.load_state_dict(groups["raw"])
        self.tally.load(groups.get("tally", {}), self.device)
        for name, optimiser in self.optimisers.items():
            load_optimiser(optimiser, groups.get(name, {}))
