"""Pictures to predict: where they come from, and their way to the network input."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as v2f

from macnn.data.images import read_image
from macnn.data.loaders import through
from macnn.data.names import SUFFIXES
from macnn.errors import DataError
from macnn.inference.results import Unreadable
from macnn.text import shown

Picture = str | Path | Image.Image | Tensor
"""A file, a Pillow image, or a uint8 RGB tensor (3, H, W)."""


@dataclass(frozen=True)
class Ready:
    """A picture as the network takes it.

    image: uint8 (3, S, S). frame: (2, 2), as `macnn.data.loaders.Batch.frames`. size: width and
    height of the stored picture. source: its file, if it has one.
    """

    image: Tensor
    frame: Tensor
    size: tuple[int, int]
    source: str | None


@dataclass(frozen=True)
class Pictures(Dataset[Ready | Unreadable]):
    """Pictures, each read when asked for; a file that cannot be read is an item too."""

    sources: Sequence[Picture]
    geometry: v2.Transform

    def __getitem__(self, index: int) -> Ready | Unreadable:
        """Read and transform one picture."""
        picture = self.sources[index]
        source = str(picture) if isinstance(picture, str | Path) else None
        try:
            stored = _pixels(picture)
        except DataError as error:
            return Unreadable(source or f"picture {index}", str(error))
        image, frame = through(self.geometry, stored)
        return Ready(image, frame, (stored.shape[2], stored.shape[1]), source)

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.sources)


def find_pictures(paths: Iterable[Path]) -> list[Path]:
    """Files as given, and the picture files anywhere below folders, by name.

    Raises:
        DataError: a folder without a picture.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
        if not inside:
            raise DataError(f"{shown(path)}: holds no picture", hint="name another folder")
        found += inside
    return found


def _pixels(picture: Picture) -> Tensor:
    if isinstance(picture, Image.Image):
        pixels: Tensor = v2f.pil_to_tensor(ImageOps.exif_transpose(picture).convert("RGB"))
        return pixels
    if isinstance(picture, Tensor):
        if picture.ndim != 3 or picture.shape[0] != 3 or picture.dtype != torch.uint8:
            raise DataError(
                f"a tensor {tuple(picture.shape)} {picture.dtype} is no picture",
                hint="expected uint8 (3, H, W)",
            )
        return picture.cpu()
    return read_image(Path(picture))
