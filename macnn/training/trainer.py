"""What every training shares: rounds of phases, steps over epochs, and a state to go on from.

What comes next depends on the position and the tensors alone: batches, augmentation, random numbers
and rates are functions of the position. So a run continues from any step as if never stopped.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Annotated, Any

import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from macnn import bounds, distributed
from macnn.config.training import TrainSettings
from macnn.data.loaders import Batch, Loader, mix
from macnn.evaluation.attention_metrics import AttentionFigures
from macnn.events import Listener, Metrics, Progress
from macnn.model import Model
from macnn.model.backbones import Backbone
from macnn.reading import Document
from macnn.text import shown
from macnn.training.ema import MovingAverage
from macnn.training.meters import Meters
from macnn.training.optimisers import (
    expected_tensors,
    load_optimiser,
    optimiser_tensors,
    set_rates,
)
from macnn.training.saved import check_tensors, fitting, rows, shaped, typed
from macnn.training.train_step import TrainStep

REPORT_EVERY = 5  # steps; reporting waits for the device
Count = Annotated[int, Field(ge=0, le=bounds.COUNT)]


@dataclass
class Position:
    """How far training has come."""

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    round: Count = 0
    phase: str = ""
    done: Count = 0  # steps of this phase
    step: Count = 0  # optimiser steps in all


class LossScale(Document):
    """What changes of the state of a `torch.amp.GradScaler`."""

    scale: float = Field(gt=0, lt=2.0**127)
    growth_tracker: int = Field(alias="_growth_tracker", ge=0, lt=2**31)


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
        self.meters = Meters(settings.margin)
        self.average = MovingAverage(network, settings.ema) if settings.ema else None
        backbones = [module for module in network.modules() if isinstance(module, Backbone)]
        self.train_step = TrainStep(
            settings,
            training.dataset.images,
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

    @abstractmethod
    def _metered(self, phase: str) -> set[str]:
        """Names of the means that a phase reports."""

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
        distributed.broadcast(self.network.buffers())
        if self.average is not None:
            distributed.broadcast(self.average.weights.values())

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
        torch.manual_seed(mix(self.training.dataset.seed, position.step, distributed.rank()))
        self.train_step.step(position.step + 1, optimiser, module, batch, loss_of)
        position.step += 1
        position.done += 1
        if self.average is not None:
            self.average.update(position.step)
        if position.done % REPORT_EVERY == 0 or position.done == total:
            self.train_step.check()
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
        figures = self.meters.means(everywhere=False)
        maps = self.meters.maps(everywhere=False)
        if maps is not None and maps.peak_distance is not None:
            figures |= {"peaks apart": maps.peak_distance}
        if maps is not None:
            figures |= {"div": sum(maps.diversity) / len(maps.diversity)}
        task = f"Round {self.position.round + 1}/{self.rounds}, {phase} phase"
        self.listen(Progress(task, self.position.done, total, figures))

    def _end_of_phase(self, phase: str) -> tuple[dict[str, float], AttentionFigures | None]:
        """Record the means of a phase, and return them and the figures of its maps."""
        means, maps = self.meters.means(everywhere=True), self.meters.maps(everywhere=True)
        values = {"round": self.position.round + 1, **means, **(maps.values() if maps else {})}
        self.listen(Metrics(phase, self.position.step, values))
        self.meters = Meters(self.settings.margin)
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
        self.train_step.check()
        tensors = {f"meters.{k}": v for k, v in self.meters.tensors().items()}
        for name, optimiser in self.optimisers.items():
            tensors |= {f"{name}.{k}": v for k, v in optimiser_tensors(optimiser).items()}
        if self.average is not None:
            # Cloned, for the average takes the place of the weights when these are saved.
            weights = self.network.state_dict()
            tensors |= {f"raw.{name}": value.clone() for name, value in weights.items()}
        return tensors, {
            "position": asdict(self.position),
            "scaler": self.train_step.scaler.state_dict(),
        }

    def load(self, tensors: dict[str, Tensor], facts: dict[str, Any], origin: object) -> None:
        """Continue from a `state`; the network holds the weights that count.

        Args:
            tensors: of the state.
            facts: of the state.
            origin: where it is from, for messages.

        Raises:
            CheckpointError: it is no state of this training; nothing has been changed then.
        """
        with fitting(origin):
            position = typed(type(self.position), facts.get("position"), "position")
            self._check(position)
            check_tensors(self._expected(position, tensors), tensors)
            scaler, scale = self.train_step.scaler, None
            if scaler.is_enabled():
                scale = typed(LossScale, facts.get("scaler"), "scaler").model_dump(by_alias=True)
            self.meters.load(_named(tensors, "meters"), self.device)
        self.position = position
        if scale is not None:
            scaler.load_state_dict(scaler.state_dict() | scale)
        if self.average is not None:
            self.average.load(self.network.state_dict())
            self.network.load_state_dict(_named(tensors, "raw"))
        for name, optimiser in self.optimisers.items():
            load_optimiser(optimiser, _named(tensors, name))

    def _check(self, position: Position) -> None:
        """Check that this training comes by a position.

        Raises:
            ValueError: it does not.
        """
        if position.phase not in self._phases():
            raise ValueError(f"there is no phase '{shown(position.phase, 100)}'")
        longest = self._longest(position.phase)
        if position.round > self.rounds or position.done > longest:
            raise ValueError(
                f"step {position.done:,} of {longest:,} in round {position.round:,} of "
                f"{self.rounds:,}"
            )

    def _longest(self, phase: str) -> int:
        """Steps of a phase at most: epochs differ by one with the number of processes."""
        return self.epochs * (len(self.training) + 1) if phase == self.learning else 0

    def _expected(self, position: Position, saved: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of the names, shapes and types that a state at this position has.

        What the position does not decide, the saved ones say: how many processes there were, and
        which optimisers have stepped.
        """
        like: dict[str, Tensor] = {}
        if position.done:
            count = rows(saved, "meters.")
            names = self._metered(position.phase)
            like |= {f"meters.{name}": shaped(count, 2, dtype=torch.float64) for name in names}
        for name, optimiser in self.optimisers.items():
            if _named(saved, name):
                own = expected_tensors(optimiser)
                like |= {f"{name}.{key}": value for key, value in own.items()}
        if self.average is not None:
            like |= {f"raw.{key}": value for key, value in self.network.state_dict().items()}
        return like


def _named(tensors: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    """The tensors of one kind, by what follows it in their names."""
    return {k.removeprefix(f"{kind}."): v for k, v in tensors.items() if k.startswith(f"{kind}.")}
