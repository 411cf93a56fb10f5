"""Decoding image files that nobody vouches for."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import functional as v2f

from macnn.errors import DataError
from macnn.text import shown

MAX_PIXELS = 100_000_000  # checked before decoding: a small file can claim to be huge
# What a file may hold, whatever its name says. Pillow knows formats that run other programs.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")

LEAVE_OUT = "'macnn data check' finds all such images, --skip-bad-images leaves them out"


def read_image(path: Path) -> Tensor:
    """Decode an image file into uint8 RGB (3, H, W), upright as its EXIF tag says.

    Of an animation the first frame is taken; 16-bit images keep their upper byte; transparency is
    dropped.

    Raises:
        DataError: the file is missing, empty, larger than `MAX_PIXELS`, or does not decode.
    """
    with quiet():
        return decode(path)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's remarks on odd files. Not for threads: enter it before they start."""
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


def decode(path: Path) -> Tensor:
    """`read_image` without the silence, for threads."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{shown(path)}: no such image") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{shown(path)}: cannot be read ({shown(str(error))})") from None
    if not S_ISREG(found.st_mode):  # a pipe would never end
        raise DataError(f"{shown(path)}: not a file")
    if found.st_size == 0:
        raise DataError(f"{shown(path)}: does not decode (empty file)")
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise DataError(
                    f"{shown(path)}: {width} x {height} pixels, more than {MAX_PIXELS:,}",
                    hint="resize it first",
                )
            pixels: Tensor = v2f.pil_to_tensor(_rgb(ImageOps.exif_transpose(image)))
    except Image.DecompressionBombError:
        raise DataError(
            f"{shown(path)}: more than {MAX_PIXELS:,} pixels", hint="resize it first"
        ) from None
    except (DataError, MemoryError):
        raise
    except Exception as error:  # hostile bytes make decoders raise anything
        reason = shown(str(error) or type(error).__name__)
        raise DataError(f"{shown(path)}: does not decode ({reason})") from None
    return pixels


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels; save it with 8 or 16 bits")
    if image.mode.startswith("I"):  # Pillow would clip 16 bits to white
        upper = np.asarray(image).clip(0, 0xFFFF) >> 8
        image = Image.fromarray(upper.astype(np.uint8))
    return image.convert("RGB")
