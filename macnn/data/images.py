"""Decoding untrusted image files in bounded memory and time."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from macnn.data import metadata
from macnn.errors import DataError
from macnn.reading import read_bytes, why
from macnn.text import shown

MAX_PIXELS = 100_000_000  # half of it in WebP and progressive JPEG, which take twice the memory
MAX_SIDE = 12_000  # pixels; padded to a square that is 0.4 GB
MAX_RATIO = 50  # of the longer side to the shorter, which is enlarged to what the network takes
MAX_BYTES = 2**28  # of a file
MAX_SCANS = 100  # of a JPEG; each may be a few bytes, and goes over all pixels
# What a file may hold, whatever its name says. Pillow knows formats that run other programs.
FORMATS = ("PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")  # and JPEG
SMALLER = "resize it first"
LEAVE_OUT = "a check of the data set finds all such images, `data.skip_bad_images` leaves them out"

# Otherwise Python prints what Pillow logs; the caller reports what does not decode.
logging.getLogger("PIL").addHandler(logging.NullHandler())

_PIXEL_BYTES = 8  # that decoding a pixel takes
_STRIP = 2**22  # pixels that are converted at once
_TURNS: dict[int, Callable[[Tensor], Tensor]] = {  # by the EXIF tag Orientation
    2: lambda pixels: pixels.flip(2),
    3: lambda pixels: pixels.flip(1, 2),
    4: lambda pixels: pixels.flip(1),
    5: lambda pixels: pixels.transpose(1, 2),
    6: lambda pixels: pixels.rot90(-1, (1, 2)),
    7: lambda pixels: pixels.transpose(1, 2).flip(1, 2),
    8: lambda pixels: pixels.rot90(1, (1, 2)),
}

# Larger blocks than malloc keeps: freed, they go back to the system, whatever thread had them.
Image.core.set_block_size(2**26)  # type: ignore[attr-defined]

Admit = Callable[[int], None]
"""Called with a number of bytes before they are taken; may wait until there is room."""


def read_image(path: Path) -> Tensor:
    """Decode an image file into uint8 RGB (3, H, W), upright as its EXIF tag says.

    Of an animation the first frame is taken; 16-bit images keep their upper byte; transparency is
    dropped.

    Raises:
        DataError: the file is missing, empty, no regular file, larger than the limits of this
            module, or does not decode.
    """
    with quiet():
        return decode(path)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's warnings. Not thread-safe: enter it before threads start."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
        yield


@contextmanager
def skippable() -> Iterator[None]:
    """Name the remedy for an image that cannot be read, where a command can leave it out."""
    try:
        yield
    except DataError as error:
        raise DataError(str(error), hint=LEAVE_OUT) from None


def decode(path: Path, admit: Admit = lambda _: None) -> Tensor:
    """`read_image` without `quiet`, for threads."""
    return decode_bytes(encoded(path), path, admit)


def encoded(path: Path) -> bytes:
    """The content of an image file.

    Raises:
        DataError: it is missing, no regular file, or larger than `MAX_BYTES`.
    """
    return read_bytes(path, DataError, limit=MAX_BYTES)


def decode_bytes(content: bytes, path: Path, admit: Admit = lambda _: None) -> Tensor:
    """`decode`, of the content that was read from `path`."""
    name = shown(path)
    if not content:
        raise DataError(f"{name}: does not decode (empty file)")
    admit(3 * len(content))  # it, and what Pillow makes of it before there is a size
    try:
        if size := metadata.webp_size(content):
            _admitted(*size, name, admit, weight=2)
        elif content.startswith(b"\xff\xd8") and content.count(b"\xff\xda") > MAX_SCANS:
            raise ValueError(f"more than {MAX_SCANS} scans")
        with metadata.opened(content, FORMATS) as image:
            _admitted(*image.size, name, admit, weight=2 if "progressive" in image.info else 1)
            metadata.load(image)
            orientation = metadata.orientation(image)
            pixels = to_tensor(image)
        return upright(pixels, orientation)
    except Image.DecompressionBombError:
        raise DataError(f"{name}: more than {MAX_PIXELS:,} pixels", hint=SMALLER) from None
    except UnidentifiedImageError:
        raise DataError(f"{name}: does not decode (in no format that is known)") from None
    except DataError:
        raise
    except MemoryError:
        raise DataError(f"{name}: does not fit into memory", hint=SMALLER) from None
    except Exception as error:  # hostile bytes make decoders raise anything
        raise DataError(f"{name}: does not decode ({why(error)})") from None


def check_size(width: int, height: int, name: str, *, weight: int = 1) -> None:
    """Check that a picture is neither too large nor too long, before it is decoded or resized.

    Raises:
        DataError: it is, or it has no pixels.
    """
    most = MAX_PIXELS // weight
    size = f"{name}: {width} x {height} pixels"
    if min(width, height) < 1:
        raise DataError(f"{size}, a picture has some")
    if width * height > most:
        raise DataError(f"{size}, more than {most:,}", hint=SMALLER)
    if max(width, height) > MAX_SIDE:
        raise DataError(f"{size}, more than {MAX_SIDE:,} along a side", hint=SMALLER)
    if max(width, height) > MAX_RATIO * min(width, height):
        raise DataError(f"{size}, longer than {MAX_RATIO} : 1", hint="crop it first")


def to_tensor(image: Image.Image) -> Tensor:
    """The pixels of a Pillow image as uint8 RGB (3, H, W), without turning it.

    Raises:
        ValueError: they are floating-point numbers.
    """
    if image.mode == "F":
        raise ValueError("floating-point pixels; save it with 8 or 16 bits")
    width, height = image.size
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    step = max(1, _STRIP // width)
    for top in range(0, height, step):
        bottom = min(top + step, height)
        pixels[top:bottom] = np.asarray(_rgb(image.crop((0, top, width, bottom))))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def upright(pixels: Tensor, orientation: int) -> Tensor:
    """Turn an image (3, H, W) as the EXIF tag Orientation says; anything but 2 to 8 is as it is."""
    turn = _TURNS.get(orientation)
    return turn(pixels) if turn else pixels


def _admitted(width: int, height: int, name: str, admit: Admit, *, weight: int) -> None:
    check_size(width, height, name, weight=weight)
    admit(weight * _PIXEL_BYTES * width * height)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # Pillow would clip 16 bits to white
        upper = np.asarray(image).clip(0, 0xFFFF) >> 8
        image = Image.fromarray(upper.astype(np.uint8))
    return image if image.mode == "RGB" else image.convert("RGB")
