"""The batches of grouping phases, which (seed, process, position) fully decide.

Every process runs through its own share of the images, in a new order each time, half of them
mirrored.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from macnn.data.loaders import Batch, Loader, mix


@dataclass(frozen=True)
class GroupingBatches:
    """What grouping phases train on.

    loader: the training images, not augmented. mirror: whether half of the draws are mirrored.
    device: where batches are wanted.
    """

    loader: Loader
    mirror: bool
    device: torch.device

    def batches(self, start: int, count: int) -> Iterator[Batch]:
        """Batches `start` to `start + count` of all grouping phases.

        Raises:
            DataError: an image cannot be read.
            Stopped: the run was asked to stop.
        """
        size = -(-self.loader.batch_size // self.loader.world_size)
        drawn = [self.draw((start + i) * size, size) for i in range(count)]
        images = [[(0, index) for index in indices.tolist()] for indices, _ in drawn]
        for batch, (_, mirrored) in zip(self.loader.batches(images), drawn, strict=True):
            there = batch.to(self.device).mirrored(mirrored.to(self.device))
            yield replace(there, total=size * self.loader.world_size)

    def draw(self, start: int, count: int) -> tuple[Tensor, Tensor]:
        """Draws `start` to `start + count`: images (count,), and which of them to mirror."""
        rank, seed = self.loader.rank, self.loader.dataset.seed
        images = len(self.loader.dataset.images.samples)
        own = torch.arange(rank, images, self.loader.world_size)
        orders = [
            own[torch.randperm(len(own), generator=_generator(seed, epoch, rank))]
            for epoch in range(start // len(own), -(-(start + count) // len(own)))
        ]
        indices = torch.cat(orders)[start % len(own) :][:count]
        coins = [mix(seed, start + i, rank) & 1 for i in range(count)]
        return indices, torch.tensor(coins, dtype=torch.bool) & self.mirror


def _generator(*numbers: int) -> torch.Generator:
    return torch.Generator().manual_seed(mix(*numbers))
