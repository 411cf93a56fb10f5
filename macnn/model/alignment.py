"""Where in the image the cells of a feature map are.

A cell is not always centred on its share of the image: a 3 x 3 convolution of stride 2 with padding
1 is centred on the even pixels, half a cell up and left of it, and a pooling without padding drops
a border. Half a cell decides whether a part lands on an eye or beside it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from macnn.model.windows import cell_centres
from macnn_kernels import channel_peaks


@dataclass(frozen=True)
class CellGrid:
    """Cell i along an axis is centred `offset + stride * i` pixels from the edge of the input.

    `size` is the number of cells (W, H), `offset` and `stride` hold x and y.
    """

    size: tuple[int, int]
    offset: tuple[float, float]
    stride: tuple[float, float]

    def to_pixels(self, fractions: Tensor) -> Tensor:
        """Points (..., 2) in fractions of the map, to pixels of the network input."""
        size, offset, stride = self._tensors(fractions)
        return offset + stride * (fractions * size - 0.5)

    def to_fractions(self, pixels: Tensor) -> Tensor:
        """Points (..., 2) in pixels of the network input, to fractions of the map."""
        size, offset, stride = self._tensors(pixels)
        return ((pixels - offset) / stride + 0.5) / size

    def shifted(self, x: float, y: float) -> "CellGrid":
        """The same cells, each so many pixels further right and down."""
        return CellGrid(self.size, (self.offset[0] + x, self.offset[1] + y), self.stride)

    def scaled(self, factor: int) -> "CellGrid":
        """The same cells in an image so many times as large."""
        (left, top), (across, down) = self.offset, self.stride
        return CellGrid(self.size, (left * factor, top * factor), (across * factor, down * factor))

    def resample(self, maps: Tensor, image_size: int, resolution: int) -> Tensor:
        """Maps (B, N, H, W) as an image of `resolution` that covers the whole network input."""
        centres = (torch.arange(resolution, device=maps.device) + 0.5) * image_size / resolution
        pixels = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), dim=-1)
        grid = (2 * self.to_fractions(pixels) - 1).expand(len(maps), -1, -1, -1)
        return nn.functional.grid_sample(
            maps, grid.to(maps.dtype), padding_mode="border", align_corners=False
        )

    def _tensors(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return tuple(like.new_tensor(v) for v in (self.size, self.offset, self.stride))  # type: ignore[return-value]


def part_centres(attention: Tensor) -> Tensor:
    """Where each part is, finer than a cell: the centre of mass of the 3 x 3 cells about the peak.

    The paper takes the peak itself (docs/paper.md, Where we differ from the paper, and why).

    Args:
        attention: (n, N, H, W) float32 maps, each summing to 1. Of equal peaks the first counts.

    Returns:
        (n, N, 2) float32, `(x, y)` in fractions of the map.
    """
    height, width = attention.shape[-2:]
    peaks = channel_peaks(attention)
    columns = torch.arange(width, device=attention.device)
    rows = torch.arange(height, device=attention.device)
    across = (columns - peaks.x[..., None]).abs() <= 1  # (n, N, W)
    down = (rows - peaks.y[..., None]).abs() <= 1  # (n, N, H)
    near = attention * (down[..., None] & across[..., None, :])
    mass = near.sum(dim=(2, 3))
    x = (near.sum(dim=2) * (columns + 0.5)).sum(dim=-1) / mass
    y = (near.sum(dim=3) * (rows + 0.5)).sum(dim=-1) / mass
    return torch.stack((x / width, y / height), dim=-1)


def part_boxes(centres: Tensor, side: float) -> Tensor:
    """Squares of this side around part centres (n, N, 2): left, top, right, bottom (n, N, 4)."""
    return torch.cat((centres - side / 2, centres + side / 2), dim=-1)


def cell_grid(
    network: nn.Module,
    image_size: int,
    map_size: tuple[int, int],
    features: Callable[[Tensor], Tensor] | None = None,
) -> CellGrid:
    """The grid of a network that maps square images of `image_size` to maps of (H, W) cells.

    It is measured, see `macnn.model.windows`. Where that fails, or does not explain the size of the
    map, the cells are taken to share the image evenly.

    Args:
        network: gives the map, if `features` does not.
        image_size: side of the images in pixels.
        map_size: (H, W).
        features: gives the map by running the network.
    """
    height, width = map_size
    even = (image_size / width, image_size / height)
    grid = CellGrid((width, height), (even[0] / 2, even[1] / 2), even)
    if any(tensor.is_meta for tensor in network.parameters()):
        return grid  # it is built for its shapes alone
    try:
        centres = cell_centres(features or network, network, image_size)
        (left, across), (top, down) = (
            _line(centres[axis].mean(dim=axis), size, image_size / size)
            for axis, size in enumerate((width, height))
        )
    except Exception:  # a network may do anything
        return grid
    return CellGrid((width, height), (left, top), (across, down))


def between(maps: CellGrid, features: CellGrid) -> Tensor:
    """Weights that carry maps over to the cells of features: (H W, H' W') float32.

    Every cell gives all it has to the cells about its centre, in the image, by a triangle as wide
    as the coarser of both strides; a map that sums to 1 still does.
    """
    axes = []
    for size, offset, stride, other, onto, step in zip(
        *(getattr(maps, name) for name in ("size", "offset", "stride")),
        *(getattr(features, name) for name in ("size", "offset", "stride")),
        strict=True,
    ):
        places = (offset + stride * torch.arange(size)).clamp(onto, onto + step * (other - 1))
        apart = places[:, None] - (onto + step * torch.arange(other))
        weights = (1 - apart.abs() / max(stride, step)).clamp(min=0)
        axes.append(weights / weights.sum(dim=1, keepdim=True))
    across, down = axes
    return torch.kron(down, across)


def _line(centres: Tensor, size: int, even: float) -> tuple[float, float]:
    """Offset and stride of `size` cells, by their centres; a few near the edges may be off.

    Raises:
        ValueError: they are no row of cells that shares the image about evenly.
    """
    index = torch.arange(len(centres))
    stride = centres.diff().median().item() if size > 1 else even
    offset = (centres - stride * index).median().item()
    off = (centres - offset - stride * index).abs().max()
    if len(centres) != size or not (abs(stride - even) < even / 2 and off < even / 4):
        raise ValueError(f"no row of cells: {centres}")
    return round(offset, 6), round(stride, 6)
