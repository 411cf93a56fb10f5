"""Which images a page shows: chosen by a rule, not by hand."""

from dataclasses import dataclass

import torch
from torch import Tensor

from macnn.evaluation.predictions import Predictions

OVERLAID, GALLERY, PAIRS = 4, 16, 6


@dataclass(frozen=True)
class Verdict:
    """The joint prediction for n images: class (n,), its probability (n,), whether right (n,)."""

    predicted: Tensor
    confidence: Tensor
    right: Tensor


@dataclass(frozen=True)
class Pair:
    """Images of class `truth` taken for class `taken`: how many of how many.

    `mistaken` is the one most surely taken, `example` the image of the other class that is most
    surely recognised, None if that class has no image. Both are places in the predictions.
    """

    truth: int
    taken: int
    count: int
    images: int
    mistaken: int
    example: int | None


@dataclass(frozen=True)
class Selection:
    """Places in the predictions of what is shown.

    Attributes:
        right: recognised images, at even distances; before there are classifiers any images.
        wrong: those the network got wrong, most confident first.
        gallery: any images at even distances, for the crops around every part.
        pairs: the most frequent confusions, most frequent first.
    """

    right: list[int]
    wrong: list[int]
    gallery: list[int]
    pairs: list[Pair]


def judge(predictions: Predictions) -> Verdict | None:
    """The joint prediction for every image, None before there are classifiers."""
    if predictions.scores is None:
        return None
    confidence, predicted = predictions.scores.logits.softmax(-1).max(-1)
    return Verdict(predicted, confidence, predicted == predictions.labels)


def select(predictions: Predictions, verdict: Verdict | None) -> Selection:
    """Choose what to show."""
    everything = list(range(len(predictions.labels)))
    gallery = _evenly(everything, GALLERY)
    if verdict is None:
        return Selection(_evenly(everything, OVERLAID), [], gallery, [])
    by_confidence = verdict.confidence.argsort(descending=True, stable=True)
    return Selection(
        right=_evenly(verdict.right.nonzero().flatten().tolist(), OVERLAID),
        wrong=by_confidence[~verdict.right[by_confidence]][:OVERLAID].tolist(),
        gallery=gallery,
        pairs=_pairs(predictions.labels, verdict),
    )


def _pairs(labels: Tensor, verdict: Verdict) -> list[Pair]:
    wrong = torch.stack((labels, verdict.predicted), dim=1)[~verdict.right]
    if not len(wrong):
        return []
    kinds, counts = wrong.unique(dim=0, return_counts=True)
    most = counts.argsort(descending=True, stable=True)[:PAIRS]
    pairs = []
    for (truth, taken), count in zip(kinds[most].tolist(), counts[most].tolist(), strict=True):
        mistaken = _surest((labels == truth) & (verdict.predicted == taken), verdict)
        example = _surest((labels == taken) & verdict.right, verdict)
        if example is None:
            example = _surest(labels == taken, verdict)
        assert mistaken is not None
        images = int((labels == truth).sum())
        pairs.append(Pair(truth, taken, count, images, mistaken, example))
    return pairs


def _surest(among: Tensor, verdict: Verdict) -> int | None:
    if not among.any():
        return None
    return int(verdict.confidence.masked_fill(~among, -1).argmax())


def _evenly(places: list[int], count: int) -> list[int]:
    """`count` of the places, or all if there are fewer, at even distances."""
    if len(places) <= count:
        return places
    return [places[round((i + 0.5) * len(places) / count - 0.5)] for i in range(count)]
