"""Holding a validation split out of the training images."""

import random
from dataclasses import replace

from macnn.data.samples import ImageSet


def hold_out(images: ImageSet, share: float, seed: int) -> ImageSet:
    """Move a seeded share of each class's training images to the validation split.

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
        replace(sample, split="validation") if index in held else sample
        for index, sample in enumerate(images.samples)
    )
    return replace(images, samples=samples)
