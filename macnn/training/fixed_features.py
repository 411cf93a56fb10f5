"""Features for a grouping phase, while the convolutions are fixed.

What the phase draws is decided by (seed, process, position): every process runs through its own
share of the images, in a new order each time, half of them mirrored. The features are computed as
they are drawn, or once per phase for every image and its mirror image, and kept.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import torch
from torch import Tensor

from macnn import distributed, stop
from macnn.config.training import TrainSettings
from macnn.data.loaders import Batch, Loader, mix
from macnn.errors import DiskError, UsageError
from macnn.events import Listener, Notice, track
from macnn.files import discard_tree
from macnn.model import Network

Place = Literal["device", "host", "disk", "off"]


@dataclass(frozen=True)
class Views:
    """The images of this process, in the order a grouping phase draws them, for ever.

    own: (m,) indices into the image set. mirrors: whether half of the draws are mirrored.
    """

    own: Tensor
    mirrors: bool
    seed: int

    @property
    def count(self) -> int:
        """Different views there are."""
        return len(self.own) * (2 if self.mirrors else 1)

    def draw(self, start: int, count: int) -> tuple[Tensor, Tensor]:
        """Draws `start` to `start + count`: positions in `own` (count,), and which to mirror."""
        positions = torch.cat(
            [
                torch.randperm(
                    len(self.own),
                    generator=torch.Generator().manual_seed(
                        mix(self.seed, epoch, distributed.rank())
                    ),
                )
                for epoch in range(start // len(self.own), -(-(start + count) // len(self.own)))
            ]
        )[start % len(self.own) :][:count]
        coins = [mix(self.seed, start + i, distributed.rank()) & 1 for i in range(count)]
        return positions, torch.tensor(coins, dtype=torch.bool) & self.mirrors


class FixedFeatures:
    """Draws batches of features; `kept_in` says where they are kept in the current phase."""

    def __init__(
        self,
        network: Network,
        loader: Loader,
        settings: TrainSettings,
        scratch: Path,
        listen: Listener,
        *,
        mirrors: bool,
    ) -> None:
        """Nothing is computed yet.

        Args:
            network: whose backbone computes the features.
            loader: the training images, not augmented.
            settings: where features may be kept.
            scratch: folder to make for features on disk, and to delete: a `temporary_path`.
            listen: hears where they are kept, and of the progress.
            mirrors: whether mirror images are drawn too.
        """
        self.network, self.loader, self.listen = network, loader, listen
        self.settings, self.scratch = settings, scratch
        images = len(loader.dataset.images.samples)
        own = torch.arange(distributed.rank(), images, distributed.world_size())
        self.views = Views(own, mirrors, loader.dataset.seed)
        self.batch_size = -(-loader.batch_size // distributed.world_size())
        self.device = next(network.parameters()).device
        self.kept_in: Place = "off"
        self.fill_seconds = 0.0
        self.computed = 0  # features
        self._announced = False

    def phase(self, start: int, steps: int, total: int) -> Iterator[Batch]:
        """Batches for one phase, with features (B, C, H, W) for images.

        Args:
            start: steps of all grouping phases that are behind.
            steps: batches to give.
            total: steps of the whole phase, which decide whether keeping pays.
        """
        self.network.eval()
        self.kept_in = self._choose(total)
        kept = self._fill() if self.kept_in != "off" else None
        drawn = [
            self.views.draw((start + i) * self.batch_size, self.batch_size) for i in range(steps)
        ]
        try:
            if kept is None:
                yield from self._computed(drawn)
            else:
                for positions, mirrored in drawn:
                    stop.check()
                    yield kept.take(positions + mirrored * len(self.views.own))
        finally:
            discard_tree(self.scratch)

    @torch.no_grad()
    def _computed(self, drawn: list[tuple[Tensor, Tensor]]) -> Iterator[Batch]:
        own = self.views.own
        draws = [[(0, int(own[p])) for p in positions] for positions, _ in drawn]
        for batch, (_, mirrored) in zip(self.loader.batches(draws), drawn, strict=True):
            seen = batch.to(self.device).mirrored(mirrored.to(self.device))
            total = len(mirrored) * distributed.world_size()
            yield replace(seen, images=self.network.backbone(seen.images), total=total)

    @torch.no_grad()
    def _fill(self) -> "Kept":
        began = perf_counter()
        own = self.views.own
        draws = [[(0, int(i)) for i in group] for group in own.split(self.batch_size)]
        batches = self.loader.batches(draws)
        kept: Kept | None = None
        done = 0
        for batch in track(batches, "Keeping features", len(draws), self.listen):
            size = len(batch.labels)
            for mirror in (False, True) if self.views.mirrors else (False,):
                chosen = torch.full((size,), mirror, device=self.device)
                seen = batch.to(self.device).mirrored(chosen)
                features = self.network.backbone(seen.images)
                if kept is None:
                    kept = Kept(self._allocate(features), self.views.count, self.device)
                kept.put(done + mirror * len(own), seen, features)
                self.computed += size
            done += size
        assert kept is not None
        self.fill_seconds += perf_counter() - began
        return kept

    def summary(self, seconds: float, steps: int) -> dict[str, Any]:
        """Where features were kept, and what that gained.

        `speed_up` compares with computing the features of every step anew, at the pace at which
        they were computed to be kept.

        Args:
            seconds: that all grouping steps took, keeping included.
            steps: how many there were.
        """
        if self.kept_in == "off":
            return {"kept_in": "off", "seconds_per_step": seconds / steps}
        anew = self.fill_seconds / self.computed * self.batch_size * steps
        return {
            "kept_in": self.kept_in,
            "seconds_per_step": seconds / steps,
            "speed_up": (seconds - self.fill_seconds + anew) / seconds,
        }

    def _choose(self, steps: int) -> Place:
        wanted = self.settings.feature_cache
        reads = steps * self.batch_size
        if wanted == "off" or (wanted == "auto" and reads <= self.views.count):
            return "off"
        channels, height, width = self.network.map_shape
        dtype = self.network.backbone.compute_dtype
        needed = self.views.count * channels * height * width * dtype.itemsize
        places: tuple[Place, ...] = ("device", "host", "disk")
        if self.device.type == "cpu":
            places = ("host", "disk")
            wanted = "host" if wanted == "device" else wanted
        for place in places if wanted == "auto" else (wanted,):
            allowed = self.settings.cache_budget * free_bytes(place, self.device, self.scratch)
            if needed <= allowed:
                self._announce(f"features kept: {place}, {needed:,} bytes, {allowed:,.0f} allowed")
                return place
            if wanted != "auto":
                raise UsageError(
                    f"--feature-cache {wanted}: {needed:,} bytes needed, {allowed:,.0f} allowed",
                    hint="raise --cache-budget, or use --feature-cache auto",
                )
        self._announce(f"features are not kept: {needed:,} bytes fit nowhere")
        return "off"

    def _announce(self, text: str) -> None:
        if not self._announced:
            self.listen(Notice("info", text))
            self._announced = True

    def _allocate(self, features: Tensor) -> Tensor:
        """Room for the features of all views, (views, H, W, C) as channels_last has them."""
        _, channels, height, width = features.shape
        shape = (self.views.count, height, width, channels)
        if self.kept_in == "device":
            return torch.empty(shape, dtype=features.dtype, device=self.device)
        if self.kept_in == "host":
            return torch.empty(shape, dtype=features.dtype, pin_memory=torch.cuda.is_available())
        size = self.views.count * height * width * channels
        file = self.scratch / f"features-{distributed.rank()}"
        try:
            self.scratch.mkdir(parents=True)
            kept = torch.from_file(str(file), shared=True, size=size, dtype=features.dtype)
        except (OSError, RuntimeError) as error:
            raise DiskError(f"{file}: cannot be written ({error})") from None
        return kept.view(shape)


class Kept:
    """Features, frames, labels and samples of all views."""

    def __init__(self, features: Tensor, count: int, device: torch.device) -> None:
        """Make room: `features` (count, H, W, C), wherever they are to be kept."""
        self.features = features
        self.device = device
        self.frames = torch.empty(count, 2, 2, device=device)
        self.labels = torch.empty(count, dtype=torch.int64, device=device)
        self.samples = torch.empty(count, dtype=torch.int64)

    def put(self, start: int, batch: Batch, features: Tensor) -> None:
        """Keep a batch and its features (B, C, H, W) as views `start` and on."""
        rows = slice(start, start + len(batch.labels))
        self.features[rows] = features.permute(0, 2, 3, 1)
        self.frames[rows], self.labels[rows] = batch.frames, batch.labels
        self.samples[rows] = batch.samples.cpu()

    def take(self, views: Tensor) -> Batch:
        """A batch of views (B,), with features (B, C, H, W) for images, on the device."""
        taken = self.features[views.to(self.features.device)]
        if self.device.type == "cuda" and taken.device.type == "cpu":
            taken = taken.pin_memory()
        there = views.to(self.device)
        return Batch(
            images=taken.to(self.device, non_blocking=True).permute(0, 3, 1, 2),
            labels=self.labels[there],
            samples=self.samples[views],
            frames=self.frames[there],
            total=len(views) * distributed.world_size(),
        )


def free_bytes(place: Place, device: torch.device, scratch: Path) -> int:
    """Bytes free in a place now, for each of this machine's processes."""
    sharing = distributed.local_world_size()
    if place == "device":
        return torch.cuda.mem_get_info(device)[0]
    if place == "disk":
        there = next(folder for folder in (scratch, *scratch.parents) if folder.exists())
        return shutil.disk_usage(there).free // sharing
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    available = next(line for line in lines if line.startswith("MemAvailable:"))
    return int(available.split()[1]) * 1024 // sharing
