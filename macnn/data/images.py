"""Decoding image files."""

from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms.v2 import functional as v2f

from macnn.errors import DataError

MAX_PIXELS = 100_000_000  # checked before decoding: a small file can claim to be huge


def read_image(path: Path) -> Tensor:
    """Decode an image file into uint8 RGB (3, H, W), upright as its EXIF tag says.

    Raises:
        DataError: the file is missing, larger than `MAX_PIXELS`, or does not decode.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise DataError(
                    f"{path}: {width} x {height} pixels, more than {MAX_PIXELS:,}",
                    hint="resize it first",
                )
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except FileNotFoundError:
        raise DataError(f"{path}: no such image") from None
    except (
        UnidentifiedImageError,
        Image.DecompressionBombError,
        OSError,
        SyntaxError,
        ValueError,
    ) as error:
        raise DataError(f"{path}: does not decode ({error})", hint="replace or remove it") from None
    pixels: Tensor = v2f.pil_to_tensor(upright)
    return pixels
