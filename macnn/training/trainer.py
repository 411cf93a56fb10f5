"""What every training shares: rounds of phases, steps over epochs, and a state to go on from.

What comes next depends on the position and the tensors alone: batches, augmentation, random numbers
and learning rates are functions of the position. So a run continues from any step as if never
stopped.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Annotated, Any, Protocol, cast

import torch
from pydantic import ConfigDict, Field
from torch import Tensor, nn
from torch.optim import Optimizer

from macnn import bounds, distributed
from macnn.config.training import TrainSettings
from macnn.data.loaders import Batch, mix
from macnn.evaluation.attention_metrics import collapse_warning
from macnn.events import Listener, Metrics, Notice, Progress
from macnn.model import Backbone, Model
from macnn.reading import Document
from macnn.text import shown
from macnn.training.ema import ExponentialMovingAverage
from macnn.training.meters import Meters
from macnn.training.optimisers import (
    expected_state,
    feature_optimiser,
    load_optimiser,
    optimiser_state,
    set_lr,
)
from macnn.training.saved import check_tensors, rows, shaped, typed
from macnn.training.train_step import TrainStep

REPORT_EVERY = 5  # steps; reporting waits for the device
VALIDATION = "validation"
Count = Annotated[int, Field(ge=0, le=bounds.COUNT)]


@dataclass
class Position:
    """How far training has come; the phase is "" before the first one."""

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    round: Count = 0
    phase: str = ""
    done: Count = 0  # steps of this phase
    step: Count = 0  # optimiser steps in all
    # mean loss of each phase, newest last
    losses: Annotated[list[float], Field(max_length=bounds.COUNT)] = field(default_factory=list)
    warned: bool = False  # whether the user was told that parts collapse


class LossScale(Document):
    """What changes of the state of a `torch.amp.GradScaler`."""

    scale: float = Field(gt=0, lt=2.0**127)
    growth_tracker: int = Field(alias="_growth_tracker", ge=0, lt=2**31)


@dataclass(frozen=True)
class Step:
    """An optimiser step was taken: everything may be saved."""

    number: int


@dataclass(frozen=True)
class PhaseEnd:
    """A phase is done; these are its metrics."""

    metrics: Metrics


@dataclass(frozen=True)
class RoundEnd:
    """A round is done: the time to save and to validate."""

    number: int


@dataclass(frozen=True)
class Phase:
    """What is trained now, on what, and by which loss.

    name: of the phase. module: what answers a batch of images, maybe `distributed.data_parallel`.
    optimiser: a fused one. batches: those still to come. total: steps of the whole phase.
    loss: from the module's answer and the batch to a scalar, its mean over the images. objective:
    name of the mean that is watched for convergence.
    """

    name: str
    module: nn.Module
    optimiser: Optimizer
    batches: Iterator[Batch]
    total: int
    loss: Callable[[Any, Batch], Tensor]
    objective: str


class Epochs(Protocol):
    """Where the batches of epochs come from: a `Loader`, say.

    seed: of what is random in training. waited: seconds this process has waited for batches.
    """

    waited: float

    @property
    def seed(self) -> int:
        """See above."""

    def __len__(self) -> int:
        """Batches per epoch."""

    def epoch(self, number: int, offset: int) -> Iterator[Batch]:
        """The batches of epoch `number`, without the first `offset` ones."""

    def describe(self, samples: Tensor) -> str:
        """What samples (B,) are called in a message."""


class Trainer(ABC):
    """Trains a model in rounds of phases, each round ending with `RoundEnd`.

        for reached in trainer.steps():
            ...  # a Step: save? a PhaseEnd: log its metrics. a RoundEnd: save, validate.

    `phases` are those of a round, in order; the last one goes through the images in epochs.
    """

    phases: tuple[str, ...]

    def __init__(
        self,
        model: Model,
        training: Epochs,
        settings: TrainSettings,
        listen: Listener,
        *,
        rounds: int,
        epochs: int,
    ) -> None:
        """Nothing is trained yet.

        Args:
            model: to train, in place.
            training: training images, shuffled and augmented.
            settings: of the training.
            listen: hears of progress and of parts that collapse.
            rounds: how many at most.
            epochs: over the images in each of them; subclasses add other optimisers to the one
                of these epochs.
        """
        self.model, self.training = model, training
        self.settings, self.listen = settings, listen
        self.position, self.rounds, self.epochs = Position(), rounds, epochs
        self.device = next(model.parameters()).device
        self.meters = Meters(settings.margin, self.device)
        self.average = ExponentialMovingAverage(model, settings.ema) if settings.ema else None
        backbones = [module for module in model.modules() if isinstance(module, Backbone)]
        self.train_step = TrainStep(
            self.device,
            grad_accum_steps=settings.grad_accum_steps,
            clip_grad_norm=settings.clip_grad_norm,
            scale_loss=any(b.compute_dtype == torch.float16 for b in backbones),
            describe=training.describe,
        )
        self.optimiser = feature_optimiser(
            model,
            settings.optimizer,
            settings.rates,
            layer_lr_scales=settings.layer_lr_scales,
            momentum=settings.momentum,
        )
        # What trains on its own without a command behind it, as PyTorch does it.
        self.batch_norm = settings.batch_norm or "train"
        self.optimisers: dict[str, Optimizer] = {"features": self.optimiser}
        self.seconds: dict[str, float] = defaultdict(float)  # by phase, in this process
        self.steps_taken: dict[str, int] = defaultdict(int)

    @property
    def finished(self) -> bool:
        """Whether all rounds are done, or no loss changes any more."""
        position, tolerance, count = self.position, self.settings.tolerance, len(self.phases)
        if position.round >= self.rounds:
            return True
        if tolerance == 0 or position.round < 2 or position.phase != self.phases[0]:
            return False
        new, old = position.losses[-count:], position.losses[-2 * count : -count]
        return all(
            abs(now - before) <= tolerance * abs(before)
            for now, before in zip(new, old, strict=True)
        )

    @property
    def averaged_model(self) -> Model:
        """The model that is evaluated and saved: its moving average, if there is one."""
        return self.model if self.average is None else cast("Model", self.average.module)

    def steps(self) -> Iterator[Step | PhaseEnd | RoundEnd]:
        """Train until finished, from wherever the position is.

        Raises:
            NonFiniteError: a loss or gradient was not finite; no later step has been taken.
            Stopped: the run was asked to stop; everything can be saved.
        """
        position = self.position
        if not position.phase:
            self._prepare()
            position.phase = self.phases[0]
        while not self.finished:
            if position.phase == VALIDATION:
                yield RoundEnd(position.round + 1)
                position.round += 1
                position.phase = self.phases[0]
            else:
                with self._phase(position.phase) as phase:
                    for batch in self._timed(phase):
                        self._before_step(phase)
                        phase.optimiser.zero_grad()
                        here = batch.to(self.device)
                        for part in self.train_step.micro_batches(
                            position.step + 1, here, phase.module
                        ):
                            loss = phase.loss(phase.module(part.images), part)
                            self.train_step.backward(loss, part)
                        self.train_step.update(phase.optimiser)
                        self._after_step(phase)
                        yield Step(position.step)
                metrics = self._end_of_phase(phase)
                position.phase, position.done = self._following(position.phase), 0
                yield PhaseEnd(metrics)

    def _prepare(self) -> None:  # noqa: B027  most trainings have nothing to prepare
        """Do what there is to do before the first phase."""

    def _following(self, phase: str) -> str:
        return (*self.phases, VALIDATION)[self.phases.index(phase) + 1]

    @abstractmethod
    def _phase(self, name: str) -> AbstractContextManager[Phase]:
        """What is trained in a phase, from wherever the position is; inside, it can be."""

    @abstractmethod
    def _metered(self, phase: str) -> set[str]:
        """Names of the means that a phase reports."""

    def _epochs(self) -> Iterator[Batch]:
        """The batches of this round's epochs, from wherever the position is."""
        position, per_epoch = self.position, len(self.training)
        while position.done < self.epochs * per_epoch:
            epoch = position.round * self.epochs + position.done // per_epoch
            yield from self.training.epoch(epoch, position.done % per_epoch)

    def _timed(self, phase: Phase) -> Iterator[Batch]:
        """The batches of a phase; the time they and the work on them take is added up."""
        began = perf_counter()
        for batch in phase.batches:
            yield batch
            now = perf_counter()
            self.seconds[phase.name] += now - began
            self.steps_taken[phase.name] += 1
            began = now

    def _before_step(self, phase: Phase) -> None:
        """Set learning rates and random numbers by the position, whatever happened before."""
        position, settings = self.position, self.settings
        if phase.name == self.phases[-1]:
            behind = position.round * phase.total + position.done
            done = behind / (self.rounds * phase.total)
            set_lr(self.optimiser, done, schedule=settings.schedule, warmup=settings.warmup)
        torch.manual_seed(mix(self.training.seed, position.step, distributed.rank()))

    def _after_step(self, phase: Phase) -> None:
        """Count the step, average the weights, and report now and then."""
        position = self.position
        position.step += 1
        position.done += 1
        if self.average is not None:
            self.average.update_parameters(self.model)
        if position.done % REPORT_EVERY == 0 or position.done == phase.total:
            self.train_step.check()
            task = f"Round {position.round + 1}/{self.rounds}, {phase.name} phase"
            self.listen(Progress(task, position.done, phase.total, self.meters.summary()))

    def _end_of_phase(self, phase: Phase) -> Metrics:
        """The metrics of a phase, over all processes; the next one starts anew."""
        if phase.name == self.phases[-1]:
            # Batch norms have seen different images in every process.
            distributed.broadcast(self.model.buffers())
            if self.average is not None:
                distributed.broadcast(self.average.module.state_dict().values())
        means, maps = self.meters.means(everywhere=True), self.meters.maps(everywhere=True)
        values = {"round": self.position.round + 1, **means, **(maps.values() if maps else {})}
        self.position.losses.append(means[phase.objective])
        warning = maps and collapse_warning(maps)
        if warning and not self.position.warned:
            self.listen(Notice("warning", warning))
            self.position.warned = True
        self.meters = Meters(self.settings.margin, self.device)
        return Metrics(phase.name, self.position.step, values)

    def summary(self) -> dict[str, Any]:
        """How far training came, and what its epochs took in this process, in seconds."""
        took, steps = self.seconds[self.phases[-1]], self.steps_taken[self.phases[-1]]
        return {
            "rounds": self.position.round,
            "steps": self.position.step,
            "epochs": self.position.round * self.epochs,
            "seconds_per_epoch": took / steps * len(self.training) if steps else None,
            "data_wait_share": self.training.waited / took if steps else None,
        }

    def state_dict(self) -> dict[str, Any]:
        """All that decides what follows, beside the weights of `averaged_model`.

        Tensors have dotted names; what else there is can be written as JSON. Every process calls
        this at the same step; what it gives is the same in all of them.
        """
        self.train_step.check()
        state: dict[str, Any] = {f"meters.{k}": v for k, v in self.meters.state_dict().items()}
        for name, optimiser in self.optimisers.items():
            state |= {f"{name}.{k}": v for k, v in optimiser_state(optimiser).items()}
        if self.average is not None:
            state |= {f"raw.{name}": value for name, value in self.model.state_dict().items()}
        state["position"] = asdict(self.position)
        state["scaler"] = self.train_step.scaler.state_dict()
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`; the model holds the weights of `averaged_model`.

        Raises:
            ValueError: it is no state of this training; nothing has been changed then.
        """
        tensors = {name: v for name, v in state_dict.items() if isinstance(v, Tensor)}
        position = typed(Position, state_dict.get("position"), "position")
        self._check(position)
        check_tensors(self._expected(position, tensors), tensors)
        scaler, scale = self.train_step.scaler, None
        if scaler.is_enabled():
            scale = typed(LossScale, state_dict.get("scaler"), "scaler").model_dump(by_alias=True)
        self.meters.load_state_dict(_named(tensors, "meters"))
        self.position = position
        if scale is not None:
            scaler.load_state_dict(scaler.state_dict() | scale)
        if self.average is not None:
            self.average.module.load_state_dict(self.model.state_dict())
            self.average.continue_at(position.step)
            self.model.load_state_dict(_named(tensors, "raw"))
        for name, optimiser in self.optimisers.items():
            load_optimiser(optimiser, _named(tensors, name))

    def _check(self, position: Position) -> None:
        """Check that this training comes by a position.

        Raises:
            ValueError: it does not.
        """
        order = ("", *self.phases, VALIDATION)
        if position.phase not in order:
            raise ValueError(f"there is no phase '{shown(position.phase, 100)}'")
        longest = self._longest(position.phase)
        if position.round > self.rounds or position.done > longest:
            raise ValueError(
                f"step {position.done:,} of {longest:,} in round {position.round:,} of "
                f"{self.rounds:,}"
            )
        ended = max(order.index(position.phase) - 1, 0) + position.round * len(self.phases)
        if len(position.losses) != ended:
            raise ValueError(f"{len(position.losses):,} losses of {ended:,} phases")

    def _longest(self, phase: str) -> int:
        """Steps of a phase at most: epochs differ by one with the number of processes."""
        return self.epochs * (len(self.training) + 1) if phase == self.phases[-1] else 0

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
                own = expected_state(optimiser)
                like |= {f"{name}.{key}": value for key, value in own.items()}
        if self.average is not None:
            like |= {f"raw.{key}": value for key, value in self.model.state_dict().items()}
        return like


def _named(tensors: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    """The tensors of one kind, by what follows it in their names."""
    return {k.removeprefix(f"{kind}."): v for k, v in tensors.items() if k.startswith(f"{kind}.")}
