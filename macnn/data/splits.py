"""Holding images out of the training split, for validation and for testing."""

import random
from dataclasses import replace

from macnn.data.samples import ImageSet, Split


def complete(images: ImageSet, *, validation: float, test: float, seed: int) -> ImageSet:
    """Give a data set the splits that it lacks.

    Args:
        images: the data set.
        validation: share to hold out where it has no validation split of its own; 0 for none,
            its own one is then trained on too.
        test: share to hold out where it has no splits at all.
        seed: of both choices.
    """
    if all(sample.split == "train" for sample in images.samples):
        images = hold_out(images, test, seed, to="test")
    own = any(sample.split == "validation" for sample in images.samples)
    if own and validation == 0:
        samples = (
            replace(sample, split="train") if sample.split == "validation" else sample
            for sample in images.samples
        )
        return replace(images, samples=tuple(samples))
    return images if own else hold_out(images, validation, seed)


def hold_out(images: ImageSet, share: float, seed: int, *, to: Split = "validation") -> ImageSet:
    """Move a seeded share of each class's training images to another split.

    Every class keeps at least one training image, and gives at least one as soon as it has two
    and `share` is not 0. The choice depends on nothing but the order of samples, `share`, `seed`.
    """
    if share == 0:
        return images
    by_class: dict[int, list[int]] = {}
    for index, sample in enumerate(images.samples):
        if sample.split == "train":
            by_class.setdefault(sample.label, []).append(index)
    draw = random.Random(seed)
    held: set[int] = set()
    for _, indices in sorted(by_class.items()):
        count = min(max(1, round(share * len(indices))), len(indices) - 1)
        held.update(draw.sample(indices, count))
    samples = tuple(
        replace(sample, split=to) if index in held else sample
        for index, sample in enumerate(images.samples)
    )
    return replace(images, samples=samples)
