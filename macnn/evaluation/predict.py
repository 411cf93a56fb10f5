"""Running a model over images: what it predicts, and where its parts look."""

from collections.abc import Iterable

import torch
from torch import Tensor

from macnn import distributed
from macnn.data.loaders import Batch, frame, unframe
from macnn.data.samples import ImageSet
from macnn.errors import NonFiniteError
from macnn.evaluation.attention_metrics import AttentionFigures, AttentionMetrics
from macnn.evaluation.localisation import keypoint_owners
from macnn.evaluation.predictions import Places, Predictions, Scores
from macnn.model import Model, Parts, PooledClassifier
from macnn.model.alignment import part_centres


@torch.no_grad()
def predict(
    model: Model, batches: Iterable[Batch], *, margin: float, keypoints: Tensor | None = None
) -> tuple[Predictions, AttentionFigures | None]:
    """Run a model over batches, each image once; returns also figures of its maps, if it has any.

    Several processes share the images, and all of them get all predictions.

    Args:
        model: the model; it is left in evaluation mode.
        batches: the images of this process.
        margin: that of Div.
        keypoints: (images, K, 2) of all images that `Batch.samples` may name, see
            `keypoint_tensors`; None for no keypoints.

    Raises:
        NonFiniteError: maps are not finite.
    """
    model.eval()
    device = next(model.parameters()).device
    metrics = AttentionMetrics(margin)
    samples, labels, logits, each, attention, centres, owners = ([] for _ in range(7))
    for batch in batches:
        output = model(batch.to(device).images)
        samples.append(batch.samples)
        labels.append(batch.labels)
        if not isinstance(output, Parts):
            logits.append(output.logits.float().cpu())
            each.append(output.classifier_logits.float().cpu())
        if not isinstance(model, PooledClassifier):
            metrics.update(output.attention)
            maps = output.attention.float().cpu()
            attention.append(maps.half())
            found = unframe(model.grid.to_pixels(part_centres(maps)), batch.frames)
            if not found.isfinite().all():
                raise NonFiniteError("the model's maps are not finite", hint="use other weights")
            centres.append(found)
            points = batch.frames.new_zeros(len(maps), 0, 2)
            if keypoints is not None:
                points = frame(keypoints[batch.samples], batch.frames)
            owners.append(keypoint_owners(maps, model.grid.to_fractions(points)))
    order = torch.cat(distributed.all_gather(torch.cat(samples))).argsort()

    def gathered(parts: list[Tensor]) -> Tensor:
        return torch.cat(distributed.all_gather(torch.cat(parts)))[order]

    predictions = Predictions(
        samples=gathered(samples),
        labels=gathered(labels),
        scores=Scores(gathered(logits), gathered(each)) if logits else None,
        places=None
        if isinstance(model, PooledClassifier)
        else Places(gathered(attention), gathered(centres), gathered(owners), model.grid),
    )
    return predictions, metrics.compute() if predictions.places else None


def keypoint_tensors(images: ImageSet) -> tuple[Tensor, Tensor]:
    """Keypoints (n, K, 2) in pixels of the stored images, 0 where not visible; visible (n, K)."""
    count = len(images.keypoint_names)
    points = [[p or (0.0, 0.0) for p in s.keypoints] for s in images.samples]
    visible = [[p is not None for p in s.keypoints] for s in images.samples]
    return (
        torch.tensor(points, dtype=torch.float32).reshape(len(points), count, 2),
        torch.tensor(visible, dtype=torch.bool).reshape(len(visible), count),
    )
