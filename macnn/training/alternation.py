"""Grouping and features, in turn (docs/paper.md, Alternating optimisation).

A round is a grouping phase, in which the backbone is fixed and the grouping layers follow L_cng, a
convolution phase, in which the grouping layers are fixed and backbone and classifiers follow L_cls,
the maps held apart by L_cng, and a validation.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from macnn import distributed
from macnn.config.training import TrainSettings
from macnn.data.loaders import Batch, Loader, frame
from macnn.evaluation.predict import predict
from macnn.events import Listener, track
from macnn.model import MACNN, Output, PartModel
from macnn.model.modes import train_mode
from macnn.training.losses import GroupingLoss, anchor_loss, part_classification_loss
from macnn.training.optimisers import grouping_optimiser
from macnn.training.saved import rows, shaped
from macnn.training.trainer import Epochs, Phase, Position, Trainer

GROUPING, CONVOLUTION = "grouping", "convolution"


class GroupingSource(Protocol):
    """Where the batches of grouping phases come from."""

    def batches(self, start: int, count: int) -> Iterator[Batch]:
        """Batches `start` to `start + count` of all grouping phases."""


class Alternation(Trainer):
    """Trains MA-CNN phase by phase."""

    model: MACNN

    def __init__(
        self,
        model: MACNN,
        training: Epochs,
        grouping: GroupingSource,
        settings: TrainSettings,
        listen: Listener,
        *,
        unaugmented: Loader | None = None,
    ) -> None:
        """Set up optimisers; nothing is trained yet.

        Args:
            model: to train, in place.
            training: training images for the convolution phase, shuffled and augmented.
            grouping: batches of the same images for the grouping phase.
            settings: of the training.
            listen: hears of progress and of parts that collapse.
            unaugmented: the same images, not augmented, to anchor parts in; None for no anchors.
        """
        super().__init__(
            model,
            training,
            settings,
            listen,
            rounds=settings.rounds_of(len(training)),
            epochs=settings.epochs,
        )
        self.phases = (GROUPING, CONVOLUTION) if settings.grouping_steps else (CONVOLUTION,)
        self.grouping, self.unaugmented = grouping, unaugmented
        self.grouping_loss = GroupingLoss(
            settings.margin,
            settings.diversity_weight,
            settings.distance_weight,
            settings.distance_unit,
        )
        self.optimisers["adam"] = grouping_optimiser(model, settings.grouping_lr)
        self.anchors: Tensor | None = None  # (images, N, 2) parts in pixels of stored images

    def _prepare(self) -> None:
        """Note where every part of every training image is before anything is trained."""
        if self.unaugmented is None or self.settings.anchor_weight == 0:
            return
        loader = self.unaugmented
        batches = track(loader.epoch(), "Anchoring parts", len(loader), self.listen)
        found, _ = predict(self.model, batches, margin=self.settings.margin)
        assert found.places is not None
        self.anchors = found.places.centres.to(self.device)

    @contextmanager
    def _phase(self, name: str) -> Iterator[Phase]:
        model, settings, position = self.model, self.settings, self.position
        if name == GROUPING:
            model.eval()
            with _only(model, model.grouping):
                total = settings.grouping_steps
                start = position.round * total + position.done
                yield Phase(
                    name,
                    distributed.data_parallel(_Maps(model)),
                    self.optimisers["adam"],
                    self.grouping.batches(start, total - position.done),
                    total,
                    self._grouping_loss,
                    "cng",
                )
        else:
            train_mode(model, self.batch_norm)
            with _only(model, model.backbone, model.classifiers):
                yield Phase(
                    name,
                    distributed.data_parallel(model),
                    self.optimiser,
                    self._epochs(),
                    self.epochs * len(self.training),
                    self._convolution_loss,
                    "cls",
                )

    @property
    def _anchored_images(self) -> int:
        if self.unaugmented is None or self.settings.anchor_weight == 0:
            return 0
        return len(self.unaugmented.dataset.images.samples)

    def _metered(self, phase: str) -> set[str]:
        names = {"cng"} if phase == GROUPING else {"cls", "accuracy"}
        if self.settings.conv_grouping_weight > 0:
            names.add("cng")
        return names | ({"anchor"} if self._anchored_images else set())

    def _grouping_loss(self, attention: Tensor, batch: Batch) -> Tensor:
        """L_cng, and what holds the maps in place."""
        loss: Tensor = self.grouping_loss(attention)
        self.meters.add(len(attention), attention, cng=loss)
        return loss + self._anchored(attention, batch)

    def _convolution_loss(self, output: Output, batch: Batch) -> Tensor:
        """L_cls, and what keeps the maps apart and in place meanwhile."""
        attention, weight = output.attention, self.settings.conv_grouping_weight
        loss = part_classification_loss(
            output.classifier_logits, batch.labels, label_smoothing=self.settings.label_smoothing
        )
        right = output.logits.detach().argmax(dim=1) == batch.labels
        self.meters.add(len(batch.labels), attention, cls=loss, accuracy=right.float().mean())
        if weight > 0:
            grouping: Tensor = self.grouping_loss(attention)
            self.meters.add(len(batch.labels), cng=grouping)
            loss = loss + weight * grouping
        return loss + self._anchored(attention, batch)

    def _anchored(self, attention: Tensor, batch: Batch) -> Tensor:
        """What it costs that maps have left their anchors; 0 without anchors."""
        if self.anchors is None:
            return attention.new_zeros(())
        points = frame(self.anchors[batch.samples], batch.frames)
        loss = anchor_loss(attention, self.model.grid.to_fractions(points))
        self.meters.add(len(attention), anchor=loss)
        return self.settings.anchor_weight * loss

    def state_dict(self) -> dict[str, Any]:
        """As `Trainer`, and the anchors."""
        anchors = {} if self.anchors is None else {"anchors": self.anchors}
        return super().state_dict() | anchors

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As `Trainer`, and the anchors."""
        super().load_state_dict(state_dict)
        if "anchors" in state_dict:
            self.anchors = state_dict["anchors"].to(self.device)

    def _longest(self, phase: str) -> int:
        return self.settings.grouping_steps if phase == GROUPING else super()._longest(phase)

    def _expected(self, position: Position, saved: Mapping[str, Tensor]) -> dict[str, Tensor]:
        like = super()._expected(position, saved)
        parts = self.model.parts
        if position.done:
            figures = shaped(rows(saved, "meters."), 5 * parts + 3, dtype=torch.float64)
            like["meters./attention"] = figures
        if self._anchored_images and position.phase:
            like["anchors"] = shaped(self._anchored_images, parts, 2)
        return like


class _Maps(nn.Module):
    """The model as far as L_cng looks, its backbone fixed."""

    def __init__(self, model: PartModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.model.backbone(images)
        return self.model.attend(features).attention


@contextmanager
def _only(model: nn.Module, *trained: nn.Module) -> Iterator[None]:
    """Fix everything but these modules while inside; what is never trained stays so."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.requires_grad_(False)
    inside = {parameter for module in trained for parameter in module.parameters()}
    for parameter in trainable:
        parameter.requires_grad_(parameter in inside)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
