"""Where in the image the cells of a feature map are.

A cell is not always centred on its share of the image: a 3 x 3 convolution of stride 2 with padding
1 is centred on the even pixels, half a cell up and left of it, and a pooling without padding drops
a border. Half a cell decides whether a part lands on an eye or beside it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from macnn_kernels import channel_peaks

WINDOWS = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


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


def cell_grid(body: nn.Module, image_size: int, map_size: tuple[int, int]) -> CellGrid:
    """The grid of a network that maps square images of `image_size` to maps of (H, W) cells.

    Windows are followed through the graph of the network. Where it has none that can be traced, or
    they do not explain the size of the map (patch merging by slices, say), the cells are taken to
    share the image evenly.
    """
    height, width = map_size
    even = (image_size / width, image_size / height)
    try:
        graph = body if isinstance(body, fx.GraphModule) else fx.symbolic_trace(body)
        offset, stride = _follow(graph)
    except Exception:  # a network may do anything that cannot be traced
        offset, stride = (even[0] / 2, even[1] / 2), even
    if any(round(e / s) != 1 for e, s in zip(even, stride, strict=True)):
        return CellGrid((width, height), (even[0] / 2, even[1] / 2), even)
    return CellGrid((width, height), offset, stride)


def _follow(graph: fx.GraphModule) -> tuple[tuple[float, float], tuple[float, float]]:
    """Offset and stride (x, y) of the output, in pixels of the input."""
    modules = dict(graph.named_modules())
    aligned: dict[fx.Node, tuple[tuple[float, float], tuple[float, float]]] = {}
    last = ((0.5, 0.5), (1.0, 1.0))
    for node in graph.graph.nodes:
        inputs = [aligned[each] for each in node.all_input_nodes if each in aligned]
        offset, stride = inputs[0] if inputs else ((0.5, 0.5), (1.0, 1.0))
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        for window in _windows(module):
            kernel, step, padding, dilation = (
                _xy(getattr(window, name, 1))
                for name in ("kernel_size", "stride", "padding", "dilation")
            )
            reach = [d * (k - 1) / 2 - p for k, p, d in zip(kernel, padding, dilation, strict=True)]
            offset = (offset[0] + stride[0] * reach[0], offset[1] + stride[1] * reach[1])
            stride = (stride[0] * step[0], stride[1] * step[1])
        aligned[node] = last = (offset, stride)
    return last


def _windows(module: nn.Module | None) -> Iterator[nn.Module]:
    """The windows a node slides one after the other; torchvision's blocks are sequences of them."""
    if isinstance(module, WINDOWS):
        yield module
    elif isinstance(module, nn.Sequential):
        for child in module:
            yield from _windows(child)


def _xy(value: int | tuple[int, int]) -> tuple[int, int]:
    """The x and y of a window's setting, which PyTorch gives as (y, x)."""
    return (value, value) if isinstance(value, int) else (value[1], value[0])
