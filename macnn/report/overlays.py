"""A photograph seen through an attention map.

Where the map is strong the photograph shows in its own colours, elsewhere it fades into fog; a line
in the part's colour encloses the upper half of the map's range, and a dot marks its centre. Every
map is stretched to its full range, so that a flat one shows its shape too: strength compares places
within one map, not maps with each other.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from PIL import Image, ImageColor, ImageDraw
from torch import Tensor
from torch.nn import functional

TILE = 224
"""Side of a picture, in pixels."""

_FINE = 2 * TILE  # drawn at twice the size, for smooth edges


def photograph(image: Tensor) -> Image.Image:
    """An image (3, S, S) uint8 as a picture TILE pixels wide."""
    return _picture(image).resize((TILE, TILE), Image.Resampling.LANCZOS)


def overlay(image: Tensor, attention: Tensor, colour: str) -> Image.Image:
    """An image (3, S, S) uint8 seen through a map (H, W), outlined in `colour`."""
    strength = _strength(attention)
    fine = _picture(image).resize((_FINE, _FINE), Image.Resampling.LANCZOS)
    clear = torch.from_numpy(np.array(fine)).float().movedim(-1, 0)
    fog = 0.55 * 255 + 0.45 * clear.mean(0, keepdim=True)
    inside = (strength > 0.5).float()[None, None]
    line = functional.max_pool2d(inside, 9, stride=1, padding=4)[0] - inside[0]
    seen = torch.lerp(fog, clear, strength)
    return photograph(torch.lerp(seen, _solid(colour), line).byte())


def heat(attention: Tensor, colour: str) -> Image.Image:
    """A map (H, W) alone: pale where it is weakest, `colour` where it is strongest."""
    return photograph(torch.lerp(_solid("#F4F4F4"), _solid(colour), _strength(attention)).byte())


def mark(picture: Image.Image, dots: Iterable[tuple[str, Sequence[float]]]) -> Image.Image:
    """A picture with dots, each a colour and its `(x, y)` in fractions of the picture."""
    fine = picture.resize((_FINE, _FINE), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(fine)
    for colour, (x, y) in dots:
        centre = (x * _FINE, y * _FINE)
        draw.circle(centre, 13, fill="white")
        draw.circle(centre, 9, fill=colour)
    return fine.resize((TILE, TILE), Image.Resampling.LANCZOS)


def _strength(attention: Tensor) -> Tensor:
    """A map (H, W) stretched to [0, 1], as large as a picture is drawn; 0 if it is constant."""
    attention = attention.detach().cpu().float()
    low, high = attention.min(), attention.max()
    stretched = (attention - low) / (high - low).clamp(min=torch.finfo(torch.float32).tiny)
    fine = functional.interpolate(
        stretched[None, None], size=(_FINE, _FINE), mode="bicubic", align_corners=False
    )
    return fine[0, 0].clamp(0, 1)


def _picture(image: Tensor) -> Image.Image:
    return Image.fromarray(image.cpu().movedim(0, -1).contiguous().numpy())


def _solid(colour: str) -> Tensor:
    return torch.tensor(ImageColor.getrgb(colour), dtype=torch.float32)[:, None, None]
