"""Grouping and features, in turn (docs/paper.md, Alternating optimisation).

A round is a grouping phase, in which the convolutions are fixed and the grouping layers follow
L_cng, a convolution phase, in which the grouping layers are fixed and convolutions and classifiers
follow L_cls, the maps held apart by L_cng, and a validation. The baseline has no grouping phase.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from macnn import bounds, distributed
from macnn.config.training import TrainSettings
from macnn.data.loaders import Batch, Loader, frame
from macnn.evaluation.attention_metrics import AttentionFigures, collapse_warning
from macnn.evaluation.evaluate import predict
from macnn.events import Listener, Notice
from macnn.model import Network
from macnn.training.fixed_features import FixedFeatures
from macnn.training.losses import anchor_loss, classification_loss, grouping_objective
from macnn.training.optimisers import convolution_optimiser, grouping_optimiser
from macnn.training.saved import rows, shaped
from macnn.training.trainer import Position, Trainer


@dataclass
class Alternated(Position):
    """How far alternation has come."""

    phase: str = "anchors"
    # mean loss of each phase, newest last
    losses: Annotated[list[float], Field(max_length=bounds.COUNT)] = field(default_factory=list)
    warned: bool = False  # whether the user was told that parts collapse


class Alternation(Trainer):
    """Trains a network phase by phase."""

    learning = "convolution"
    network: Network
    position: Alternated

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
            after_step: see `Trainer`.
            validate: see `Trainer`.
        """
        super().__init__(
            network,
            training,
            settings,
            listen,
            position=Alternated(),
            rounds=settings.rounds,
            epochs=settings.epochs,
            optimiser=convolution_optimiser(network, settings),
            after_step=after_step,
            validate=validate,
        )
        self.still = still
        self.anchors: Tensor | None = None  # (images, N, 2) parts in pixels of stored images
        self.features: FixedFeatures | None = None
        if network.grouping is not None:
            self.optimisers["adam"] = grouping_optimiser(network, settings)
            self.features = FixedFeatures(
                network, still, settings, scratch, listen, mirrors=mirrors
            )

    @property
    def finished(self) -> bool:
        """Whether all rounds are done, or neither loss changes any more."""
        position, settings = self.position, self.settings
        if super().finished:
            return True
        if settings.tolerance == 0 or position.round < 2 or position.phase != "grouping":
            return False
        per_round = self._per_round
        new, old = position.losses[-per_round:], position.losses[-2 * per_round : -per_round]
        return all(
            abs(now - before) <= settings.tolerance * abs(before)
            for now, before in zip(new, old, strict=True)
        )

    def _phases(self) -> dict[str, tuple[Callable[[], None], str]]:
        return {
            "anchors": (self._drop_anchors, "grouping"),
            "grouping": (self._grouping_phase, "convolution"),
            "convolution": (self._convolution_phase, "validation"),
            "validation": (self.validate, "grouping"),
        }

    @property
    def _groups(self) -> bool:
        return self.network.grouping is not None and self.settings.grouping_steps > 0

    @property
    def _per_round(self) -> int:
        """Phases of a round that note their loss."""
        return 2 if self._groups else 1

    @property
    def _anchors(self) -> bool:
        return self.network.grouping is not None and self.settings.anchor_weight > 0

    def _metered(self, phase: str) -> set[str]:
        parts = self.network.grouping is not None
        names = {"cng"} if phase == "grouping" else {"cls", "accuracy"}
        if parts and self.settings.conv_grouping_weight > 0:
            names.add("cng")
        return names | ({"anchor"} if self._anchors else set())

    def _drop_anchors(self) -> None:
        """Note where every part of every training image is before anything is trained."""
        if not self._anchors:
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
        network, position, total = self.network, self.position, self.settings.grouping_steps
        network.eval()
        start = position.round * total + position.done
        drawn = self.features.phase(start, total - position.done, total)
        with _only(network, network.grouping):
            maps = distributed.data_parallel(_Maps(network))

            def loss_of(piece: Batch) -> Tensor:
                attention: Tensor = maps(piece.images)
                loss = grouping_objective(attention, self.settings).total
                self.meters.add(len(attention), attention, cng=loss)
                return loss + self._anchored(attention, piece)

            for batch in self._timed("grouping", drawn):
                self._step("grouping", total, self.optimisers["adam"], maps, batch, loss_of)
        self._note("cng", *self._end_of_phase("grouping"))

    def _convolution_phase(self) -> None:
        """Grouping layers fixed: train convolutions and classifiers on L_cls and L_cng."""
        network = self.network
        network.train()
        with _only(network, network.backbone, network.classifiers):
            module = distributed.data_parallel(network)
            self._epochs(module, lambda piece: self._loss(module, piece))
        self._note("cls", *self._end_of_phase("convolution"))

    def _loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """L_cls, and what keeps the maps apart and in place meanwhile."""
        settings = self.settings
        logits, attention, joint = module(batch.images)
        loss = classification_loss(logits, batch.labels)
        right = joint.detach().argmax(dim=1) == batch.labels
        self.meters.add(len(batch.labels), attention, cls=loss, accuracy=right.float().mean())
        if attention is not None and settings.conv_grouping_weight > 0:
            grouping = grouping_objective(attention, settings).total
            self.meters.add(len(batch.labels), cng=grouping)
            loss = loss + settings.conv_grouping_weight * grouping
        return loss if attention is None else loss + self._anchored(attention, batch)

    def _anchored(self, attention: Tensor, batch: Batch) -> Tensor:
        """What it costs that maps have left their anchors; 0 without anchors."""
        if self.anchors is None:
            return attention.new_zeros(())
        points = frame(self.anchors[batch.samples], batch.frames)
        loss = anchor_loss(attention, self.network.grid.to_fractions(points))
        self.meters.add(len(attention), anchor=loss)
        return self.settings.anchor_weight * loss

    def _note(self, loss: str, means: dict[str, float], maps: AttentionFigures | None) -> None:
        """Remember the mean loss of a phase, and warn once of parts that collapse."""
        self.position.losses.append(means[loss])
        warning = maps and collapse_warning(maps)
        if warning and not self.position.warned:
            self.listen(Notice("warning", warning))
            self.position.warned = True

    def summary(self) -> dict[str, Any]:
        """As `Trainer`, and of the grouping phases what keeping features has brought."""
        summary = {"rounds": self.position.round, **super().summary()}
        if self.features is not None and self.steps["grouping"]:
            summary["grouping"] = self.features.summary(
                self.seconds["grouping"], self.steps["grouping"]
            )
        return summary

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """As `Trainer`, and the anchors."""
        tensors, facts = super().state()
        if self.anchors is not None:
            tensors["anchors"] = self.anchors
        return tensors, facts

    def load(self, tensors: dict[str, Tensor], facts: dict[str, Any], origin: object) -> None:
        """As `Trainer`, and the anchors."""
        super().load(tensors, facts, origin)
        if "anchors" in tensors:
            self.anchors = tensors["anchors"].to(self.device)

    def _check(self, position: Position) -> None:
        super()._check(position)
        assert isinstance(position, Alternated)
        own = {"convolution": self._per_round - 1, "validation": self._per_round}
        noted = position.round * self._per_round + own.get(position.phase, 0)
        if len(position.losses) != noted:
            raise ValueError(f"{len(position.losses):,} losses of {noted:,} phases")

    def _longest(self, phase: str) -> int:
        if phase == "grouping":
            return self.settings.grouping_steps if self._groups else 0
        return super()._longest(phase)

    def _expected(self, position: Position, saved: Mapping[str, Tensor]) -> dict[str, Tensor]:
        like = super()._expected(position, saved)
        parts = self.network.spec.parts
        if parts and position.done:
            figures = shaped(rows(saved, "meters."), 5 * parts + 3, dtype=torch.float64)
            like["meters./attention"] = figures
        if self._anchors and position.phase != "anchors":
            like["anchors"] = shaped(len(self.training.dataset.images.samples), parts, 2)
        return like


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
