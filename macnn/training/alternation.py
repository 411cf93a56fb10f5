"""Alternating optimisation (PAPER.md 7).

A round is a grouping phase, in which the convolutions are fixed and the grouping layers follow
L_cng, and a convolution phase, in which the grouping layers are fixed and convolutions and
classifiers follow L_cls. The baseline has convolution phases only.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from macnn.config.settings import TrainSettings
from macnn.data.loaders import Batch, Loader, frame
from macnn.errors import NonFiniteError
from macnn.evaluation.evaluate import predict
from macnn.evaluation.telemetry import Telemetry, collapse_warning
from macnn.events import Listener, Metrics, Notice, Progress
from macnn.model import Network
from macnn.training.losses import anchor_loss, classification_loss, grouping_objective
from macnn.training.optimisers import convolution_optimiser, grouping_optimiser, set_rates

REPORT_EVERY = 5  # steps


@dataclass
class Position:
    """How far training has come."""

    round: int = 0
    step: int = 0  # optimiser steps of both phases
    grouping_epoch: int = 0
    convolution_epoch: int = 0
    losses: list[float] = field(default_factory=list)  # mean loss of each phase, newest last
    warned: bool = False  # whether the user was told that parts collapse


class Alternation:
    """Trains a network round by round.

    Each phase draws from its own loader of the training images; `still` is not augmented.
    """

    def __init__(
        self,
        network: Network,
        grouping_loader: Loader,
        convolution_loader: Loader,
        still_loader: Loader,
        settings: TrainSettings,
        listen: Listener,
    ) -> None:
        """Set up optimisers; nothing is trained yet."""
        self.network = network
        self.loaders = {
            "grouping": grouping_loader,
            "convolution": convolution_loader,
            "still": still_loader,
        }
        self.settings = settings
        self.listen = listen
        self.position = Position()
        self.anchors: Tensor | None = None  # (images, N, 2) parts in pixels of stored images
        self.device = next(network.parameters()).device
        self.optimiser: SGD = convolution_optimiser(network, settings)
        self.grouping_optimiser: Optimizer | None = (
            grouping_optimiser(network, settings) if network.grouping else None
        )

    @property
    def finished(self) -> bool:
        """Whether all rounds are done, or neither loss changes any more."""
        position, settings = self.position, self.settings
        if position.round >= settings.rounds:
            return True
        per_round = 2 if self._groups else 1
        if settings.tolerance == 0 or position.round < 2:
            return False
        new, old = position.losses[-per_round:], position.losses[-2 * per_round : -per_round]
        return all(
            abs(now - before) <= settings.tolerance * abs(before)
            for now, before in zip(new, old, strict=True)
        )

    def round(self) -> None:
        """Train one round."""
        if self.position.round == 0:
            self.anchors = self._drop_anchors()
        if self._groups:
            self._grouping_phase()
        self._convolution_phase()
        self.position.round += 1

    @property
    def _groups(self) -> bool:
        return self.grouping_optimiser is not None and self.settings.grouping_steps > 0

    def _grouping_phase(self) -> None:
        """Convolutions fixed: train the grouping layers on L_cng."""
        optimiser, steps = self.grouping_optimiser, self.settings.grouping_steps
        assert optimiser is not None
        self.network.eval()
        tally = _Tally(self.settings.margin)
        for done, batch in enumerate(self._endless(self.loaders["grouping"], steps), start=1):
            with torch.no_grad():
                features = self.network.backbone(batch.images)
            attention = self.network.recognise(features).attention
            assert attention is not None
            loss = grouping_objective(attention, self.settings).total
            tally.add(attention, cng=loss)
            self._step(optimiser, loss + self._anchored(attention, batch, tally), batch)
            self._progress("grouping", done, steps, tally)
        self._end_of_phase("grouping", "cng", tally)

    def _convolution_phase(self) -> None:
        """Grouping layers fixed: train convolutions and classifiers on L_cls."""
        network, settings, loader = self.network, self.settings, self.loaders["convolution"]
        network.train()
        if network.grouping is not None:
            network.grouping.requires_grad_(False)
        total = settings.epochs * len(loader)
        before = self.position.round * total
        tally = _Tally(settings.margin)
        done = 0
        for _ in range(settings.epochs):
            for batch in loader.epoch(self.position.convolution_epoch):
                batch = batch.to(self.device)
                share = (before + done) / (settings.rounds * total)
                set_rates(self.optimiser, share, settings.warm_up)
                self._step(self.optimiser, self._convolution_loss(batch, tally), batch)
                done += 1
                self._progress("convolution", done, total, tally)
            self.position.convolution_epoch += 1
        if network.grouping is not None:
            network.grouping.requires_grad_(True)
        self._end_of_phase("convolution", "cls", tally)

    def _convolution_loss(self, batch: Batch, tally: "_Tally") -> Tensor:
        """L_cls, and what keeps the maps in place meanwhile."""
        settings = self.settings
        logits, attention = self.network(batch.images)
        loss = classification_loss(logits, batch.labels)
        right = logits.sum(dim=1).argmax(dim=1) == batch.labels
        tally.add(attention, cls=loss, accuracy=right.float().mean())
        if attention is not None and settings.conv_grouping_weight > 0:
            grouping = grouping_objective(attention, settings).total
            tally.add(cng=grouping)
            loss = loss + settings.conv_grouping_weight * grouping
        return loss if attention is None else loss + self._anchored(attention, batch, tally)

    def _anchored(self, attention: Tensor, batch: Batch, tally: "_Tally") -> Tensor:
        """What it costs that maps have left their anchors; 0 without anchors."""
        if self.anchors is None:
            return attention.new_zeros(())
        points = frame(self.anchors[batch.samples], batch.frames)
        loss = anchor_loss(attention, self.network.grid.to_fractions(points))
        tally.add(anchor=loss)
        return self.settings.anchor_weight * loss

    def _drop_anchors(self) -> Tensor | None:
        """Where every part of every training image is before anything is trained."""
        if self.network.grouping is None or self.settings.anchor_weight == 0:
            return None
        found = predict(
            self.network,
            self.loaders["still"],
            margin=self.settings.margin,
            task="Anchoring parts",
            listen=self.listen,
        )
        assert found.centres is not None
        return found.centres.to(self.device)

    def _endless(self, loader: Loader, steps: int) -> Iterator[Batch]:
        """`steps` batches, running through as many epochs as that takes."""
        while steps > 0:
            for batch in loader.epoch(self.position.grouping_epoch):
                yield batch.to(self.device)
                steps -= 1
                if steps == 0:
                    break
            self.position.grouping_epoch += 1

    def _step(self, optimiser: Optimizer, loss: Tensor, batch: Batch) -> None:
        """One optimiser step, or none at all when the loss is not finite."""
        if not math.isfinite(loss.item()):
            images = self.loaders["convolution"].photographs.images
            names = ", ".join(str(images.samples[i].path) for i in batch.samples.tolist())
            raise NonFiniteError(
                f"the loss became {loss.item()} at step {self.position.step + 1}, on {names}",
                hint="lower --rate or --grouping-rate",
            )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        self.position.step += 1

    def _progress(self, phase: str, done: int, total: int, tally: "_Tally") -> None:
        """Report progress now and then: reading the figures waits for the device."""
        if done % REPORT_EVERY == 0 or done == total:
            task = f"Round {self.position.round + 1}/{self.settings.rounds}, {phase} phase"
            self.listen(Progress(task, done, total, tally.means()))

    def _end_of_phase(self, phase: str, loss: str, tally: "_Tally") -> None:
        position, values = self.position, tally.means()
        position.losses.append(values[loss])
        if tally.telemetry.images:
            figures = tally.telemetry.compute()
            values |= figures.values()
            warning = collapse_warning(figures)
            if warning and not position.warned:
                self.listen(Notice("warning", warning))
                position.warned = True
        self.listen(Metrics(phase, position.step, {"round": position.round + 1, **values}))


class _Tally:
    """Running means of losses, and the state of the maps, over a phase."""

    def __init__(self, margin: float) -> None:
        self.telemetry = Telemetry(margin)
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, attention: Tensor | None = None, **losses: Tensor) -> None:
        if attention is not None:
            self.telemetry.update(attention.detach())
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach()
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        return {name: total.item() / self.counts[name] for name, total in self.sums.items()}
