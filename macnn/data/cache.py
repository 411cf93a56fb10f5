"""A cache of decoded, pre-resized images, mapped into memory.

    index.json    the short side, and of every image: its file, and its place in pixels.bin
    pixels.bin    uint8 (3, H, W), one image after the other

Images are shrunk to the short side that the network will see. For `--resize-mode crop` without
strong augmentation what the network sees is the same, bit for bit.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as v2f

from macnn.data.images import LEAVE_OUT, decode, quiet, skippable
from macnn.data.samples import ImageSet, Sample
from macnn.data.threads import mapped
from macnn.errors import DataError, DiskError, UsageError
from macnn.events import Listener, silent, track
from macnn.files import sync, write_json
from macnn.text import shown

INDEX, PIXELS = "index.json", "pixels.bin"
VERSION = 1


@dataclass(frozen=True)
class Entry:
    """One image: its file when it was cached, its size there and here, and where its pixels are."""

    file_bytes: int
    modified_ns: int
    stored: tuple[int, int]  # height, width
    cached: tuple[int, int]
    offset: int


@dataclass(frozen=True)
class Cache:
    """An open cache. `failed` has the reason for every image that could not be read."""

    folder: Path
    entries: Mapping[Path, Entry]
    failed: Mapping[Path, str]

    def read(self, path: Path) -> tuple[Tensor, Tensor]:
        """Pixels (3, h, w) uint8, and how much they were shrunk in x and y, (2,).

        Raises:
            DataError: the image is not in the cache.
        """
        entry = self.entries.get(path.absolute())
        if entry is None:
            if reason := self.failed.get(path.absolute()):
                raise DataError(reason, hint=LEAVE_OUT)
            raise DataError(f"{shown(path)}: not in {shown(self.folder)}")
        (height, width), (tall, wide) = entry.stored, entry.cached
        # Opened for every image: a map that is held would be copied to the loader processes.
        pixels = np.memmap(self.folder / PIXELS, np.uint8, "r", entry.offset, (3, tall, wide))
        return torch.from_numpy(np.array(pixels)), torch.tensor([wide / width, tall / height])


def write_cache(
    images: ImageSet, folder: Path, size: int, listen: Listener = silent
) -> dict[str, int]:
    """Decode the images, shrink their short side to `size` and write them to a new folder.

    Returns:
        Counts: images, failed (the `images.failed`, whose reasons are kept), bytes.

    Raises:
        UsageError: the folder is not empty.
        DataError: an image cannot be read.
        DiskError: the folder cannot be written; it then does not appear.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder}: exists and is not an empty folder", hint="name another")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            inside = Path(scratch, "cache")
            inside.mkdir()
            entries, total = _write_pixels(images, inside / PIXELS, size, listen)
            index = {
                "version": VERSION,
                "size": size,
                "images": [{"path": _key(p), **asdict(entry)} for p, entry in entries],
                "failed": {_key(bad.sample.path): bad.reason for bad in images.failed},
            }
            write_json(inside / INDEX, index)
            if folder.exists():
                folder.rmdir()
            inside.rename(folder)
    except OSError as error:
        raise DiskError(
            f"{folder}: cannot be written ({error.strerror})",
            hint="check free space and permissions, or name another folder",
        ) from None
    return {"images": len(entries), "failed": len(images.failed), "bytes": total}


def open_cache(folder: Path, images: ImageSet, size: int) -> Cache:
    """Open a cache for these images, for a network that sees `size` pixels.

    Raises:
        DataError: it is no cache, is of another data set, or an image has changed since.
        UsageError: its images are smaller than the network input.
    """
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if index["version"] != VERSION:
            raise ValueError(f"version {index['version']}")
        entries = {Path(row.pop("path")): _entry(row) for row in index["images"]}
        failed = {Path(path): reason for path, reason in index["failed"].items()}
        cached = int(index["size"])
        end = max((_end(entry) for entry in entries.values()), default=0)
        if (folder / PIXELS).stat().st_size < end:
            raise ValueError(f"{PIXELS} is too short")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{shown(folder)}: not a cache of this version ({error})",
            hint="write it with 'macnn data cache'",
        ) from None
    if cached < size:
        raise UsageError(
            f"--cache {shown(folder)}: short sides of {cached} pixels, --img-size is {size}",
            hint=f"write it again with --img-size {size}",
        )
    hint = "write the cache again"
    for sample in images.samples:
        path = sample.path.absolute()
        if path in failed:
            continue
        if path not in entries:
            raise DataError(f"{shown(sample.path)}: not in {shown(folder)}", hint=hint)
        if _state(path) != (entries[path].file_bytes, entries[path].modified_ns):
            raise DataError(f"{shown(sample.path)}: changed since it was cached", hint=hint)
    return Cache(folder, entries, failed)


def _write_pixels(
    images: ImageSet, file: Path, size: int, listen: Listener
) -> tuple[list[tuple[Path, Entry]], int]:
    def shrunk(sample: Sample) -> tuple[Tensor, tuple[int, int], tuple[int, int]]:
        state = _state(sample.path)
        with skippable():
            pixels = decode(sample.path)
        height, width = pixels.shape[-2:]
        small = v2f.resize(pixels, [size], antialias=True) if min(height, width) > size else pixels
        return small, (height, width), state

    entries: list[tuple[Path, Entry]] = []
    offset = 0
    count = len(images.samples)
    with quiet(), file.open("wb") as stream:
        found = mapped(shrunk, images.samples)
        for sample, (pixels, stored, state) in zip(
            images.samples, track(found, "Caching images", count, listen), strict=True
        ):
            tall, wide = pixels.shape[-2:]
            entries.append((sample.path, Entry(*state, stored, (tall, wide), offset)))
            offset += stream.write(pixels.contiguous().numpy().tobytes())
    sync(file)
    return entries, offset


def _state(path: Path) -> tuple[int, int]:
    """Size and time of a file; a file that is gone has changed."""
    try:
        found = path.stat()
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _key(path: Path) -> str:
    return str(path.absolute())


def _entry(row: dict[str, Any]) -> Entry:
    (height, width), (tall, wide) = row["stored"], row["cached"]
    return Entry(
        row["file_bytes"], row["modified_ns"], (height, width), (tall, wide), row["offset"]
    )


def _end(entry: Entry) -> int:
    return entry.offset + 3 * entry.cached[0] * entry.cached[1]
