"""Batches whose order and augmentation depend on seed, epoch and position only."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from operator import itemgetter
from time import perf_counter

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from macnn.data.cache import Cache
from macnn.data.images import read_image, skippable
from macnn.data.samples import ImageSet
from macnn.errors import DataError
from macnn.stop import Stopped

Draw = tuple[int, int]  # (epoch, sample): the same draw is augmented the same way


@dataclass(frozen=True)
class Batch:
    """Images as the network sees them, and where they come from.

    images: uint8 (B, 3, S, S). labels: int64 (B,). samples: int64 (B,), indices into the image set.
    frames: float32 (B, 2, 2), rows (scale, shift) for x and y: network = stored * scale + shift.
    total: images in this batch over all processes.
    """

    images: Tensor
    labels: Tensor
    samples: Tensor
    frames: Tensor
    total: int = 1

    def pin_memory(self) -> "Batch":
        """Called by the DataLoader when batches go to a CUDA device."""
        return self._each(Tensor.pin_memory)

    def to(self, device: torch.device) -> "Batch":
        """Copy to `device`, without waiting."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def mirrored(self, chosen: Tensor) -> "Batch":
        """Mirror the images that the mask (B,) chooses, left to right."""
        side = self.images.shape[-1]
        images = torch.where(chosen[:, None, None, None], self.images.flip(3), self.images)
        scale, shift = self.frames[:, 0].unbind(1)
        across = torch.stack((-scale, side - shift), dim=1)
        frames = torch.stack((across, self.frames[:, 1]), dim=1)
        frames = torch.where(chosen[:, None, None], frames, self.frames)
        return replace(self, images=images, frames=frames)

    def split(self, pieces: int) -> list["Batch"]:
        """Cut into at most `pieces` batches of nearly one size; `total` stays that of the whole."""
        cuts = [len(self.labels) * i // pieces for i in range(pieces + 1)]
        kept = [slice(a, b) for a, b in pairwise(cuts) if a < b]
        return [self._each(itemgetter(rows)) for rows in kept]

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        images, labels, samples, frames = map(
            change, (self.images, self.labels, self.samples, self.frames)
        )
        return Batch(images, labels, samples, frames, self.total)


@dataclass(frozen=True)
class ImageDataset(Dataset[Batch]):
    """The images of a data set, or of its cache, through a geometry, seeded per draw."""

    images: ImageSet
    geometry: v2.Transform
    seed: int
    cache: Cache | None = None

    def __getitem__(self, draw: Draw) -> Batch:
        """Read and transform one image; the result is a batch of one."""
        epoch, index = draw
        sample = self.images.samples[index]
        if self.cache is None:
            with skippable():
                stored, shrunk = read_image(sample.path), torch.ones(2)
        else:
            stored, shrunk = self.cache.read(sample.path)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mix(self.seed, epoch, index))
            image, frame = through(self.geometry, stored)
        frame[:, 0] *= shrunk
        return Batch(
            images=image.unsqueeze(0),
            labels=torch.tensor([sample.label]),
            samples=torch.tensor([index]),
            frames=frame.unsqueeze(0),
        )


def never() -> bool:
    """Nobody asks to stop."""
    return False


@dataclass
class Loader:
    """Batches over a data set, epoch by epoch, from any offset.

    Process `rank` of `world_size` gets its share of every batch, and as many batches as the others.
    `should_stop` is asked before every batch. `waited` counts the seconds for which this process
    has waited for batches.
    """

    dataset: ImageDataset
    batch_size: int
    shuffle: bool = False
    workers: int = 0
    pin_memory: bool = False
    rank: int = 0
    world_size: int = 1
    should_stop: Callable[[], bool] = never
    waited: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        """Check that there is an image for every process.

        Raises:
            DataError: there is not.
        """
        count = len(self.dataset.images.samples)
        if 0 < count < self.world_size:
            raise DataError(f"{count} images for {self.world_size} processes", hint="start fewer")

    @property
    def seed(self) -> int:
        """Seed of its order and augmentation."""
        return self.dataset.seed

    def __len__(self) -> int:
        """Batches per epoch."""
        return len(self._sizes())

    def epoch(self, number: int = 0, offset: int = 0) -> Iterator[Batch]:
        """The batches of epoch `number`, without the first `offset` ones.

        Raises:
            DataError: an image cannot be read, or a loader process died.
            Stopped: the run was asked to stop.
        """
        count = len(self.dataset.images.samples)
        generator = torch.Generator().manual_seed(mix(self.dataset.seed, number, count))
        order = torch.randperm(count, generator=generator) if self.shuffle else torch.arange(count)
        groups = order.split(self._sizes())[offset:]
        draws = [
            [(number, int(i)) for i in group[self.rank :: self.world_size]] for group in groups
        ]
        for batch, group in zip(self.batches(draws), groups, strict=True):
            yield replace(batch, total=len(group))

    def batches(self, draws: list[list[Draw]]) -> Iterator[Batch]:
        """One batch per list of draws; as `epoch`, but the caller says what every process gets."""
        loader = DataLoader(
            self.dataset,
            batch_sampler=draws,
            num_workers=self.workers,
            collate_fn=_collate,
            worker_init_fn=_leave_signals_to_the_trainer,
            pin_memory=self.pin_memory,
            generator=torch.Generator(),  # or the loader would draw from the global generator
        )
        try:
            for batch in self._timed(loader):
                if self.should_stop():
                    raise Stopped
                yield batch
        except DataError as error:
            # From a worker process the message comes wrapped in a traceback; its last line is ours.
            raise DataError(str(error).strip().splitlines()[-1].split("DataError: ")[-1]) from None
        except (RuntimeError, EOFError, ConnectionError) as error:
            if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                raise
            if self.should_stop():  # the same signal met a loader process that was only starting
                raise Stopped from None
            raise DataError(
                f"a loader process died ({error})", hint="lower `data.workers`, or free memory"
            ) from None

    def describe(self, samples: Tensor) -> str:
        """The files of samples (B,), for a message."""
        return ", ".join(str(self.dataset.images.samples[i].path) for i in samples.tolist())

    def _sizes(self) -> list[int]:
        """Images of every batch; a last one too small to share joins the one before."""
        whole, rest = divmod(len(self.dataset.images.samples), self.batch_size)
        sizes = [self.batch_size] * whole
        if whole and rest < self.world_size:
            sizes[-1] += rest
        elif rest:
            sizes.append(rest)
        return sizes

    def _timed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        start = perf_counter()
        for batch in batches:
            self.waited += perf_counter() - start
            yield batch
            start = perf_counter()


def through(geometry: v2.Transform, stored: Tensor) -> tuple[Tensor, Tensor]:
    """A stored image (3, H, W) uint8 through a geometry: (3, S, S) uint8, and its frame (2, 2)."""
    height, width = stored.shape[-2:]
    # Two corners travel with the pixels; where they land is the frame.
    corners = torch.tensor([[0.0, 0.0], [width, height]])
    points = tv_tensors.KeyPoints(corners, canvas_size=(height, width))
    image, moved = geometry(tv_tensors.Image(stored), points)
    scale = (moved[1] - moved[0]) / corners[1]
    frame = torch.stack((scale, moved[0]), dim=1)
    return image.as_subclass(Tensor), frame.as_subclass(Tensor)


def frame(points: Tensor, frames: Tensor) -> Tensor:
    """Map points (B, N, 2) in pixels of the stored images to pixels of the network input."""
    scale, shift = frames[:, None, :, 0], frames[:, None, :, 1]
    return points * scale + shift


def unframe(points: Tensor, frames: Tensor) -> Tensor:
    """Map points (B, N, 2) in pixels of the network input back to pixels of the stored images."""
    scale, shift = frames[:, None, :, 0], frames[:, None, :, 1]
    return (points - shift) / scale


def _leave_signals_to_the_trainer(worker: int) -> None:
    """A signal to the whole process group must not end the workers before training has saved.

    They leave the group, but still obey the process that started them: it ends them by a signal.
    """
    os.setpgid(0, 0)


def _collate(items: list[Batch]) -> Batch:
    return Batch(
        images=torch.cat([item.images for item in items]),
        labels=torch.cat([item.labels for item in items]),
        samples=torch.cat([item.samples for item in items]),
        frames=torch.cat([item.frames for item in items]),
    )


def mix(*numbers: int) -> int:
    """Mix integers into one 63-bit seed (splitmix64 finaliser), so that neighbours differ."""
    state = 0
    for number in numbers:
        state = (state ^ number) + 0x9E3779B97F4A7C15 & (1 << 64) - 1
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & (1 << 64) - 1
        state = (state ^ state >> 27) * 0x94D049BB133111EB & (1 << 64) - 1
        state ^= state >> 31
    return state >> 1
