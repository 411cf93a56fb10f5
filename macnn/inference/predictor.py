"""A trained model for use: pictures in, named results out."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from macnn.data.loaders import unframe
from macnn.data.samples import Box
from macnn.errors import DataError, NonFiniteError
from macnn.inference.pictures import Picture, Pictures, Ready
from macnn.inference.preprocessing import Preprocessing
from macnn.inference.recogniser import Recogniser
from macnn.inference.results import ClassScore, Prediction, Unreadable

BATCHED_PIXELS = 896**2
"""Pixels that a network looks at per picture, up to which a batch has as many as were asked for."""


class Predictor:
    """A model with everything it needs around it; `macnn.load` makes one.

    class_names: what it can tell apart. device: where it computes, in float32.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        class_names: tuple[str, ...],
        preprocessing: Preprocessing,
        device: torch.device,
    ) -> None:
        self.class_names = class_names
        self.device = device
        self._recogniser = recogniser.to(device)
        self._preprocessing = preprocessing

    def predict(
        self, pictures: Sequence[Picture], *, top: int = 5, batch_size: int = 16
    ) -> list[Prediction]:
        """Predict pictures: files, Pillow images, or uint8 RGB tensors (3, H, W).

        Args:
            pictures: what to predict.
            top: how many classes to name, most probable first.
            batch_size: how many pictures at a time.

        Raises:
            DataError: one of them cannot be read.
        """
        found = []
        for result in self.stream(pictures, top=top, batch_size=batch_size):
            if isinstance(result, Unreadable):
                raise DataError(result.problem)
            found.append(result)
        return found

    def stream(
        self, pictures: Sequence[Picture], *, top: int = 5, batch_size: int = 16, workers: int = 0
    ) -> Iterator[Prediction | Unreadable]:
        """As `predict`, one result after the other; a picture that cannot be read stops nothing.

        Args:
            pictures: what to predict; results keep their order.
            top: how many classes to name, most probable first.
            batch_size: how many pictures at a time; fewer for a model that looks at more than
                `BATCHED_PIXELS` of each, or its file would decide how much memory that takes.
            workers: processes that read pictures; 0 reads in this one.

        Raises:
            NonFiniteError: the model answers with NaN or infinity.
        """
        pixels = max(self._recogniser.pixels, BATCHED_PIXELS)
        loader = DataLoader(
            Pictures(pictures, self._preprocessing.geometry()),
            batch_size=max(1, batch_size * BATCHED_PIXELS // pixels),
            num_workers=workers,
            collate_fn=list,
            generator=torch.Generator(),  # or the loader would draw from the global generator
        )
        for items in loader:
            predictions = iter(self._predict([i for i in items if isinstance(i, Ready)], top))
            yield from (i if isinstance(i, Unreadable) else next(predictions) for i in items)

    @property
    def model(self) -> nn.Module:
        """The model itself, such as a `macnn.MACNN`, in evaluation mode."""
        return self._recogniser.model

    @torch.inference_mode()
    def _predict(self, ready: list[Ready], top: int) -> list[Prediction]:
        if not ready:
            return []
        images = torch.stack([item.image for item in ready])
        logits, boxes = (t.cpu() for t in self._recogniser(images.to(self.device)))
        if not logits.isfinite().all():
            raise NonFiniteError(
                f"{ready[0].source or 'pictures'}: the model's answer is not finite",
                hint="use an earlier checkpoint",
            )
        scores, classes = logits.softmax(dim=1).topk(min(top, logits.shape[1]))
        corners = unframe(boxes.reshape(len(ready), -1, 2), torch.stack([i.frame for i in ready]))
        return [
            Prediction(
                source=item.source,
                classes=tuple(
                    ClassScore(self.class_names[index], score)
                    for index, score in zip(best.tolist(), values.tolist(), strict=True)
                ),
                parts=tuple(_boxes(points.view(-1, 2, 2), item.size)),
            )
            for item, best, values, points in zip(ready, classes, scores, corners, strict=True)
        ]


def _boxes(corners: Tensor, size: tuple[int, int]) -> Iterator[Box]:
    """Boxes from corners (N, 2, 2) in pixels of a picture, cut off at its border."""
    inside = corners.clamp(min=torch.zeros(2), max=torch.tensor(size))
    for (left, top), (right, bottom) in inside.tolist():
        yield Box(left, top, right - left, bottom - top)
