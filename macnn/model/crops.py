"""Where the streams of the part CNN look, and cutting it out (docs/paper.md, Joint recognition).

A box is (left, top, right, bottom) in pixels of the photograph, its edges between pixels or not.
"""

import torch
from torch import Tensor


def squares(centres: Tensor, sides: Tensor, image_size: int) -> Tensor:
    """Squares around points, moved so that they lie within the photograph.

    Args:
        centres: (B, N, 2) points `(x, y)` in pixels.
        sides: (B, N) in pixels; those larger than the photograph are cut to its size.
        image_size: side of the photograph.

    Returns:
        (B, N, 4) boxes.
    """
    sides = sides.clamp(max=image_size).unsqueeze(-1)
    corners = torch.minimum((centres - sides / 2).clamp(min=0), image_size - sides)
    return torch.cat((corners, corners + sides), dim=-1)


def strong_box(features: Tensor, threshold: float) -> Tensor:
    """The box around all cells whose channel sum is a share of the strongest one's, or more.

    Args:
        features: (B, C, H, W); where nothing is positive, the box is the whole map.
        threshold: that share.

    Returns:
        (B, 2, 2) corners `(x, y)`, top left and bottom right, in fractions of the map.
    """
    sums = features.float().sum(dim=1).clamp(min=0)
    strong = sums >= threshold * sums.amax(dim=(1, 2), keepdim=True)
    across, down = _ends(strong.any(dim=1)), _ends(strong.any(dim=2))
    return torch.stack((across, down), dim=-1)


def _ends(marked: Tensor) -> Tensor:
    """First and last edge of what is marked (B, n), as fractions of n: (B, 2)."""
    count = marked.shape[1]
    cells = torch.arange(count, device=marked.device)
    first = torch.where(marked, cells, count).amin(dim=1)
    last = torch.where(marked, cells + 1, 0).amax(dim=1)
    return torch.stack((first, last), dim=1) / count


def crop(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Cut boxes out of photographs and resize them, all at once.

    Every output pixel is a mean of input pixels under a triangle, as antialiased bilinear resizing
    has it: the box of a whole photograph gives what `torchvision.transforms.v2.Resize` gives.
    Plain products of matrices, unlike `torchvision.ops.roi_align`, so that exported files need no
    torchvision; and roi_align does not smooth when it shrinks as much as resizing does.

    Args:
        images: (B, 3, H, W), any dtype.
        boxes: (B, N, 4), not empty, within the photograph.
        size: side of the output.

    Returns:
        (B, N, 3, size, size) float32, in the units of `images`.
    """
    height, width = images.shape[-2:]
    left, top, right, bottom = boxes.float().unbind(dim=-1)
    rows, columns = _triangles(top, bottom, height, size), _triangles(left, right, width, size)
    return torch.einsum("bnyh,bchw,bnxw->bncyx", rows, images.float(), columns)


def _triangles(start: Tensor, end: Tensor, pixels: int, size: int) -> Tensor:
    """Weights of input pixels for output pixels along one axis: (B, N, size, pixels)."""
    step = ((end - start) / size)[..., None, None]
    outputs = torch.arange(size, device=start.device)[:, None] + 0.5
    inputs = torch.arange(pixels, device=start.device) + 0.5
    distance = inputs - (start[..., None, None] + step * outputs)
    weights = (1 - distance.abs() / step.clamp(min=1)).clamp(min=0)
    return weights / weights.sum(dim=-1, keepdim=True)
