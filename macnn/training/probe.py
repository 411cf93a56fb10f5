"""Linear probes: classifiers fitted to the features of a network as it is.

They cost one pass over the images, give training a start, and tell what it must at least reach.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from macnn import distributed
from macnn.data.loaders import Batch
from macnn.errors import NonFiniteError
from macnn.model import MACNN, PooledClassifier
from macnn.model.modes import evaluating

Classifier = MACNN | PooledClassifier
MOST_VALUES = 2**28  # of features that are kept, 1 GiB; beyond, the images read so far have to do
ITERATIONS = 100  # of L-BFGS
SHRINKAGE = 1 / 300  # weight of |W|^2, times channels over images; features have unit mean square


class Seen(NamedTuple):
    """What classifiers see of n images: features (n, M, C) and labels (n,)."""

    features: Tensor
    labels: Tensor


def linear_probe(
    models: Sequence[Classifier],
    training: Iterable[Batch],
    validation: Iterable[Batch] | None = None,
) -> list[float | None]:
    """Fit the classifiers of models that share a backbone, in place; all else stays as it is.

    Args:
        models: one or more.
        training: images to fit to, not augmented; more than fit in memory are left out.
        validation: images to measure on.

    Returns:
        The accuracy of each on the validation images; None without such images.

    Raises:
        NonFiniteError: the features are not finite.
    """
    for model, seen in zip(models, _read(models, training), strict=True):
        _fit(model.classifiers, seen)
    if validation is None:
        return [None] * len(models)
    measured = zip(models, _read(models, validation), strict=True)
    return [_accuracy(model.classifiers, seen) for model, seen in measured]


@torch.no_grad()
def _read(models: Sequence[Classifier], batches: Iterable[Batch]) -> list[Seen]:
    """What the classifiers of each model see of images, over all processes."""
    device = next(models[0].parameters()).device
    rows: list[list[Tensor]] = [[] for _ in models]
    labels, kept = [], 0
    with evaluating(models[0]):
        for batch in batches:
            here = batch.to(device)
            features = models[0].backbone(here.images)
            for row, model in zip(rows, models, strict=True):
                row.append(model.classifier_inputs(features))
                kept += batch.total * row[-1].shape[1:].numel()
            labels.append(here.labels)
            if kept >= MOST_VALUES:
                break
    everywhere = torch.cat(distributed.all_gather(torch.cat(labels)))
    return [Seen(torch.cat(distributed.all_gather(torch.cat(row))), everywhere) for row in rows]


def _fit(classifiers: nn.Module, seen: Seen) -> None:
    """Minimise L_cls and the norm of the weights, from zero."""
    if not seen.features.isfinite().all():
        raise NonFiniteError("features are not finite", hint="use other `model.weights`")
    n, count, channels = seen.features.shape
    weight, bias = (torch.zeros_like(p, requires_grad=True) for p in classifiers.parameters())
    optimiser = torch.optim.LBFGS(
        (weight, bias), max_iter=ITERATIONS, line_search_fn="strong_wolfe"
    )
    labels = seen.labels.repeat_interleave(count)

    def closure() -> Tensor:
        optimiser.zero_grad()
        logits = torch.einsum("nmc,mkc->nmk", seen.features, weight) + bias
        loss = F.cross_entropy(logits.flatten(0, 1), labels) * count
        loss = loss + SHRINKAGE * channels / n * weight.square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    with torch.no_grad():
        for parameter, fitted in zip(classifiers.parameters(), (weight, bias), strict=True):
            parameter.copy_(fitted)
    distributed.broadcast(parameter.data for parameter in classifiers.parameters())


@torch.no_grad()
def _accuracy(classifiers: nn.Module, seen: Seen) -> float:
    """Share of images that the sum of all logits names rightly."""
    weight, bias = classifiers.parameters()
    logits = torch.einsum("nmc,mkc->nk", seen.features, weight) + bias.sum(dim=0)
    return (logits.argmax(dim=1) == seen.labels).double().mean().item()
