"""Pictures to predict: where they come from, and their way to the network input."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from macnn.data import metadata
from macnn.data.images import check_size, read_image, to_tensor, upright
from macnn.data.loaders import through
from macnn.data.names import SUFFIXES
from macnn.errors import DataError
from macnn.inference.results import Unreadable
from macnn.reading import why
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
        if not os.path.isdir(path):  # noqa: PTH112  # for a path that is none the other raises
            found.append(path)
            continue
        inside = sorted(file for file in _below(path) if file.suffix.lower() in SUFFIXES)
        if not inside:
            raise DataError(f"{shown(path)}: holds no picture", hint="name another folder")
        found += inside
    return found


def _below(folder: Path) -> Iterator[Path]:
    """Everything below a folder, however deep; links to folders are not followed."""
    waiting = [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    yield Path(entry.path)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
        except OSError:  # closed to us
            continue


def _pixels(picture: Picture) -> Tensor:
    """Pixels (3, H, W) uint8, of a size that can be resized.

    Raises:
        DataError: it cannot be read, or is none.
    """
    if isinstance(picture, Tensor):
        plain = picture.layout == torch.strided and picture.device.type != "meta"
        if not plain or picture.ndim != 3 or picture.shape[0] != 3 or picture.dtype != torch.uint8:
            raise DataError(
                f"a tensor {tuple(picture.shape)} {picture.dtype} is no picture",
                hint="expected uint8 (3, H, W)",
            )
        check_size(picture.shape[2], picture.shape[1], "a tensor")
        return picture.cpu()
    if not isinstance(picture, Image.Image):
        return read_image(Path(picture))
    check_size(*picture.size, "a picture")
    try:
        picture.load()
        return upright(to_tensor(picture), metadata.orientation(picture))
    except MemoryError:
        raise DataError("a picture does not fit into memory", hint="resize it first") from None
    except Exception as error:  # hostile bytes make decoders raise anything
        raise DataError(f"a picture does not decode ({why(error)})") from None
