"""Points, smooth outlines and colours: what birds and scenery are drawn with."""

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import ImageDraw

Points = NDArray[np.float64]
"""Shape (n, 2): x to the right, y down."""
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Frame:
    """A place, size and direction on the canvas: maps a shape's own units to pixels."""

    matrix: Points
    origin: Points

    @classmethod
    def at(cls, x: float, y: float, scale: float, angle: float, mirror: bool = False) -> "Frame":
        """A frame with its origin at pixel (x, y), turned by `angle` radians (clockwise)."""
        cos, sin = np.cos(angle), np.sin(angle)
        flip = np.diag([-1.0 if mirror else 1.0, 1.0])
        return cls(scale * flip @ np.array([[cos, -sin], [sin, cos]]), np.array([x, y]))

    def __call__(self, points: Points) -> Points:
        """Map points (n, 2), or a single point (2,), to pixels."""
        mapped: Points = points @ self.matrix.T + self.origin
        return mapped

    @property
    def scale(self) -> float:
        """Pixels per unit."""
        return float(np.hypot(*self.matrix[0]))


def turned(points: Points, pivot: Points, angle: float) -> Points:
    """`points` turned about `pivot` by `angle` radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    moved: Points = (points - pivot) @ np.array([[cos, sin], [-sin, cos]]) + pivot
    return moved


def smooth(corners: ArrayLike, steps: int = 10) -> Points:
    """A closed Catmull-Rom curve through `corners` (n, 2)."""
    nodes = np.asarray(corners, dtype=np.float64)
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    before, here, after, beyond = (np.roll(nodes, k, axis=0) for k in (1, 0, -1, -2))
    curve = 0.5 * (
        2 * here
        + t * (after - before)
        + t**2 * (2 * before - 5 * here + 4 * after - beyond)
        + t**3 * (3 * here - before - 3 * after + beyond)
    )
    return curve.transpose(1, 0, 2).reshape(-1, 2)


def ellipse(x: float, y: float, width: float, height: float) -> Points:
    """The outline of an ellipse with the given centre and semi-axes."""
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    return np.stack([x + width * np.cos(angle), y + height * np.sin(angle)], axis=1)


def fill(draw: ImageDraw.ImageDraw, points: Points, colour: Colour) -> None:
    """Fill the polygon through `points`, in pixels."""
    draw.polygon([(float(x), float(y)) for x, y in points], fill=colour)


def stroke(draw: ImageDraw.ImageDraw, points: Points, colour: Colour, width: float) -> None:
    """Draw a line through `points`, in pixels."""
    flat = [(float(x), float(y)) for x, y in points]
    draw.line(flat, fill=colour, width=max(1, round(width)), joint="curve")


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """A colour from hue, saturation and value, each from 0 to 1 (hue wraps)."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def shade(colour: Colour, factor: float) -> Colour:
    """`colour` darker (factor < 1) or lighter (factor > 1)."""
    red, green, blue = (min(255, max(0, round(channel * factor))) for channel in colour)
    return red, green, blue
