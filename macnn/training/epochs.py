"""Trainings of one phase, epochs of cross-entropy: the baseline, and the streams of a part CNN."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from macnn import distributed
from macnn.data.loaders import Batch
from macnn.model import PartCNN, PartCNNOutput, PooledClassifier, PooledOutput
from macnn.model.modes import train_mode
from macnn.training.losses import part_classification_loss
from macnn.training.trainer import Phase, Trainer


class EpochTraining(Trainer):
    """Trains a model over epochs, all of it at once; subclasses say by which loss."""

    objective: str

    @contextmanager
    def _phase(self, name: str) -> Iterator[Phase]:
        train_mode(self.model, self.batch_norm)
        yield Phase(
            name,
            distributed.data_parallel(self.model),
            self.optimiser,
            self._epochs(),
            self.epochs * len(self.training),
            self._loss,
            self.objective,
        )

    @abstractmethod
    def _loss(self, output: Any, batch: Batch) -> Tensor:
        """The loss of the model's answer to a batch."""


class PooledTraining(EpochTraining):
    """Trains the global-average-pool baseline, with the epochs of an alternation."""

    model: PooledClassifier
    phases = ("convolution",)  # as MA-CNN's, to be compared with
    objective = "cls"

    def _metered(self, phase: str) -> set[str]:
        return {"cls", "accuracy"}

    def _loss(self, output: PooledOutput, batch: Batch) -> Tensor:
        loss = part_classification_loss(
            output.classifier_logits, batch.labels, label_smoothing=self.settings.label_smoothing
        )
        right = output.logits.detach().argmax(dim=1) == batch.labels
        self.meters.add(len(batch.labels), cls=loss, accuracy=right.float().mean())
        return loss


class StreamTraining(EpochTraining):
    """Trains the streams of a part CNN alone and jointly at once; the locator stays as it is."""

    model: PartCNN
    phases = ("streams",)
    objective = "joint"

    def _metered(self, phase: str) -> set[str]:
        return {"streams", "joint", "accuracy"}

    def _loss(self, output: PartCNNOutput, batch: Batch) -> Tensor:
        """Cross-entropy of the joint classifier, and of every stream alone.

        The latter keeps every stream worth asking: a stream that only complements the others
        learns little once they are right.
        """
        smoothing = self.settings.label_smoothing
        alone, together = (
            part_classification_loss(logits, batch.labels, label_smoothing=smoothing)
            for logits in (output.stream_logits, output.logits.unsqueeze(1))
        )
        right = output.logits.detach().argmax(dim=1) == batch.labels
        self.meters.add(
            len(batch.labels), streams=alone, joint=together, accuracy=right.float().mean()
        )
        return alone + together
