"""Training the streams of the part CNN: epochs of cross-entropy, each followed by a validation."""

from collections.abc import Callable

from torch import Tensor, nn

from macnn import distributed
from macnn.config.training import TrainSettings
from macnn.data.loaders import Batch, Loader
from macnn.events import Listener
from macnn.model import PartCNN
from macnn.training.losses import classification_loss
from macnn.training.optimisers import convolution_optimiser
from macnn.training.trainer import Position, Trainer


class StreamTraining(Trainer):
    """Trains the streams alone and jointly at once; the locator stays as it is."""

    learning = "streams"
    network: PartCNN

    def __init__(
        self,
        network: PartCNN,
        training: Loader,
        settings: TrainSettings,
        listen: Listener,
        *,
        epochs: int,
        after_step: Callable[[], None],
        validate: Callable[[], None],
    ) -> None:
        """Nothing is trained yet; arguments as those of `Trainer`."""
        super().__init__(
            network,
            training,
            settings,
            listen,
            position=Position(phase=self.learning),
            rounds=epochs,
            epochs=1,
            optimiser=convolution_optimiser(network, settings),
            after_step=after_step,
            validate=validate,
        )

    def _phases(self) -> dict[str, tuple[Callable[[], None], str]]:
        return {
            self.learning: (self._train, "validation"),
            "validation": (self.validate, self.learning),
        }

    def _metered(self, phase: str) -> set[str]:
        return {"streams", "joint", "accuracy"}

    def _train(self) -> None:
        self.network.train()
        module = distributed.data_parallel(self.network)
        self._epochs(module, lambda piece: self._loss(module, piece))
        self._end_of_phase(self.learning)

    def _loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy of the joint classifier, and of every stream alone.

        The latter keeps every stream worth asking: a stream that only complements the others
        learns little once they are right.
        """
        logits, _, joint = module(batch.images)
        alone = classification_loss(logits[:, : self.network.spec.streams], batch.labels)
        together = classification_loss(joint.unsqueeze(1), batch.labels)
        right = joint.detach().argmax(dim=1) == batch.labels
        self.meters.add(
            len(batch.labels), streams=alone, joint=together, accuracy=right.float().mean()
        )
        return alone + together
