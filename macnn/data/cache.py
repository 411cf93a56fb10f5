"""A cache of decoded, pre-resized images in one file.

    index.jsonl   one line about the cache, then one for every image: its file, its place in pixels
    pixels.bin    uint8 (3, H, W), one image after the other

Images are shrunk to the short side that the network will see, interpolated as for it. For
`data.resize_mode` crop without strong augmentation what the network sees is the same, bit for bit.
"""

import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as v2f

from macnn.data.images import LEAVE_OUT, Admit, check_size, decode, quiet, skippable
from macnn.data.layouts.limits import IMAGES, LINE
from macnn.data.samples import ImageSet, Sample
from macnn.data.threads import mapped
from macnn.data.transforms import Interpolation
from macnn.errors import DataError, DiskError, UsageError
from macnn.events import Listener, silent, track
from macnn.files import whole_folder
from macnn.reading import LIST_BYTES, parse_json, read_bytes, why
from macnn.text import shown

INDEX, PIXELS = "index.jsonl", "pixels.bin"
VERSION: Literal[2] = 2
HINT = "write a new cache"

Natural = Annotated[int, Field(ge=0, lt=2**63)]
Side = Annotated[int, Field(gt=0, lt=2**31)]


@dataclass(frozen=True, slots=True)
class Head:
    """The first line of the index: the short side, how many images were and were not read, how."""

    version: Literal[2]
    size: Side
    images: Natural
    failed: Natural
    interpolation: Interpolation = "bilinear"  # of all caches before there was a choice


@dataclass(frozen=True, slots=True)
class Entry:
    """One image: its file when it was cached, its size there and here, and where its pixels are."""

    uri: str
    file_bytes: Natural
    modified_ns: int
    stored: tuple[Side, Side]  # height, width
    cached: tuple[Side, Side]
    offset: Natural

    @property
    def bytes(self) -> int:
        """How many its pixels take."""
        return 3 * self.cached[0] * self.cached[1]


@dataclass(frozen=True, slots=True)
class Failed:
    """One image that could not be read, and why."""

    uri: str
    reason: str


@dataclass(frozen=True)
class Cache:
    """An open cache: by URI, the images that are in it, and why others could not be read."""

    folder: Path
    entries: Mapping[str, Entry]
    failed: Mapping[str, str]

    def reason(self, path: Path) -> str | None:
        """Why an image could not be read when the cache was written, if that was so."""
        return self.failed.get(_uri(path))

    def read(self, path: Path) -> tuple[Tensor, Tensor]:
        """Pixels (3, h, w) uint8, and how much they were shrunk in x and y, (2,).

        Raises:
            DataError: the image is not in the cache, or the cache was cut off since.
        """
        entry = self.entries.get(_uri(path))
        if entry is None:
            if reason := self.reason(path):
                raise DataError(reason, hint=LEAVE_OUT)
            raise DataError(f"{shown(path)}: not in {shown(self.folder)}")
        (height, width), (tall, wide) = entry.stored, entry.cached
        content = _read(self.folder / PIXELS, entry.offset, entry.bytes)
        pixels = torch.frombuffer(content, dtype=torch.uint8).view(3, tall, wide)
        return pixels, torch.tensor([wide / width, tall / height])


def write_cache(
    images: ImageSet,
    folder: Path,
    size: int,
    interpolation: Interpolation = "bilinear",
    listen: Listener = silent,
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
        with whole_folder(folder) as inside:
            entries = _write_pixels(images, inside / PIXELS, size, interpolation, listen)
            failed = [Failed(_uri(bad.sample.path), shown(bad.reason)) for bad in images.failed]
            head = Head(VERSION, size, len(entries), len(failed), interpolation)
            with (inside / INDEX).open("x", encoding="utf-8") as stream:
                rows: Iterator[Head | Entry | Failed] = chain([head], entries, failed)
                stream.writelines(json.dumps(asdict(row)) + "\n" for row in rows)
    except OSError as error:
        raise DiskError(
            f"{folder}: cannot be written ({why(error)})",
            hint="check free space and permissions, or name another folder",
        ) from None
    total = sum(entry.bytes for entry in entries)
    return {"images": len(entries), "failed": len(failed), "bytes": total}


def open_cache(
    folder: Path, images: ImageSet, size: int, interpolation: Interpolation = "bilinear"
) -> Cache:
    """Open a cache for these images, for a network that sees `size` pixels, so interpolated.

    Raises:
        DataError: it is no cache, is damaged or of another data set, or an image has changed since.
        UsageError: its images are smaller than the network input, or interpolated otherwise.
    """
    lines = _lines(folder / INDEX)
    head = _parse(lines, Head)
    if head.images + head.failed > IMAGES:
        raise DataError(f"{shown(folder)}: more than {IMAGES:,} images")
    entries: dict[str, Entry] = {}
    end = 0
    for _ in range(head.images):
        entry = _parse(lines, Entry)
        tall, wide = entry.cached
        check_size(wide, tall, f"{shown(folder / INDEX)}: {shown(entry.uri)}")
        if entry.offset != end:
            raise DataError(f"{shown(folder / INDEX)}: damaged (offsets)", hint=HINT)
        end += entry.bytes
        entries[entry.uri] = entry
    failed = {}
    for _ in range(head.failed):
        bad = _parse(lines, Failed)
        failed[bad.uri] = bad.reason
    _read(folder / PIXELS, end, 0)
    if head.size < size:
        raise UsageError(
            f"{shown(folder)}: short sides of {head.size} pixels, `data.image_size` is {size}",
            hint=f"write a new cache with `data.image_size={size}`",
        )
    if head.interpolation != interpolation:
        raise UsageError(
            f"{shown(folder)}: shrunk {head.interpolation}, "
            f"`data.interpolation` is {interpolation}",
            hint=f"write a new cache with `data.interpolation={interpolation}`",
        )
    for sample in images.samples:
        uri = _uri(sample.path)
        if uri in failed:
            continue
        if uri not in entries:
            raise DataError(f"{shown(sample.path)}: not in {shown(folder)}", hint=HINT)
        if _state(sample.path) != (entries[uri].file_bytes, entries[uri].modified_ns):
            raise DataError(f"{shown(sample.path)}: changed since it was cached", hint=HINT)
    return Cache(folder, entries, failed)


def _write_pixels(
    images: ImageSet, file: Path, size: int, interpolation: Interpolation, listen: Listener
) -> list[Entry]:
    mode = InterpolationMode(interpolation)

    def shrunk(sample: Sample, admit: Admit) -> tuple[Tensor, tuple[int, int], tuple[int, int]]:
        state = _state(sample.path)
        with skippable():
            pixels = decode(sample.path, admit)
        height, width = pixels.shape[-2:]
        shrink = min(height, width) > size
        small = v2f.resize(pixels, [size], mode, antialias=True) if shrink else pixels
        return small, (height, width), state

    entries: list[Entry] = []
    offset = 0
    count = len(images.samples)
    with quiet(), file.open("xb") as stream:
        found = mapped(shrunk, images.samples)
        for sample, (pixels, stored, state) in zip(
            images.samples, track(found, "Caching images", count, listen), strict=True
        ):
            tall, wide = pixels.shape[-2:]
            entries.append(Entry(_uri(sample.path), *state, stored, (tall, wide), offset))
            offset += stream.write(pixels.contiguous().numpy().tobytes())
    return entries


def _state(path: Path) -> tuple[int, int]:
    """Size and time of a file; a file that is gone has changed."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _uri(path: Path) -> str:
    """JSON has no way to write names that are not UTF-8; URIs have."""
    return path.absolute().as_uri()


def _lines(file: Path) -> Iterator[tuple[Path, bytes]]:
    """The lines of a file, each with where it stands; empty ones after its end."""
    stream = io.BytesIO(read_bytes(file, DataError, limit=LIST_BYTES, hint=HINT))
    for number in range(1, IMAGES + 2):
        yield Path(f"{file}:{number}"), stream.readline(LINE)


def _parse(lines: Iterator[tuple[Path, bytes]], form: type[Any]) -> Any:
    place, line = next(lines)
    return parse_json(line, place, form, DataError, hint=HINT)


def _read(file: Path, offset: int, count: int) -> bytearray:
    """Bytes of a file. A map of it would end the process if the file was cut off meanwhile.

    Raises:
        DataError: it cannot be read, or has not that many.
    """
    found = bytearray(count)
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            # Pipes and devices have no size.
            if os.fstat(descriptor).st_size >= offset + count:
                stream.seek(offset)
                if stream.readinto(found) == count:
                    return found
    except OSError as error:
        raise DataError(f"{shown(file)}: {why(error)}", hint=HINT) from None
    raise DataError(f"{shown(file)}: too short", hint=HINT)
