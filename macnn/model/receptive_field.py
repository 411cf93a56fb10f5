"""Where a trained cell looks, which its windows alone do not tell.

The gradient of a cell with respect to the image is large where the cell looks: its effective
receptive field (Luo et al., 2016). Weights can lean to one side of their windows.
"""

import torch
from torch import Tensor, nn

from macnn.model.alignment import CellGrid
from macnn.model.backbones import both


@torch.enable_grad()
def gaze(backbone: nn.Module, grid: CellGrid, images: Tensor) -> Tensor:
    """How far from the centre of its windows a middle cell looks, in every image.

    Of an even number of cells the two in the middle take turns: what is seen of the whole image
    draws one to the left and the other to the right.

    Args:
        backbone: gives features (B, C, H, W), or a pair of them: the first is looked at.
        grid: of their cells, by their windows.
        images: (B, 3, S, S), uint8 or float in [0, 1].

    Returns:
        (B, 2) float64, `(x, y)` in pixels; NaN where nothing in the image moves the cell.
    """
    pixels = images if images.is_floating_point() else images.float() / 255
    pixels = pixels.detach().requires_grad_()
    turns = torch.arange(len(images), device=images.device) % 2
    x, y = ((size - 1 + turns) // 2 for size in grid.size)
    seen = both(backbone(pixels))[0]
    cells = seen[torch.arange(len(images), device=images.device), :, y, x]
    (gradient,) = torch.autograd.grad(cells.float().clamp(min=0).sum(), pixels)
    mass = gradient.detach().abs().sum(dim=1).double()  # (B, S, S)
    places = torch.arange(mass.shape[-1], device=mass.device, dtype=torch.float64) + 0.5
    looks = torch.stack([(mass.sum(dim=1) @ places), (mass.sum(dim=2) @ places)], dim=1)
    windows = torch.stack(
        [o + s * cell for o, s, cell in zip(grid.offset, grid.stride, (x, y), strict=True)], dim=1
    )
    return looks / mass.sum(dim=(1, 2))[:, None] - windows
