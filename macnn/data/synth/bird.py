"""One bird: a body of random build, pose and plumage, with a marking on each of its four parts.

A bird looks to the right in its own units, in which the body is about 1 long; a `Frame` puts it on
the canvas. Only the colours of the markings depend on the species.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike
from PIL import ImageDraw

from macnn.data.synth.shapes import (
    Colour,
    Frame,
    Points,
    ellipse,
    fill,
    hsv,
    shade,
    smooth,
    stroke,
    turned,
)

_BODY = [(0.44, -0.12), (0.40, 0.10), (0.22, 0.25), (-0.05, 0.29), (-0.32, 0.18), (-0.52, 0.03),
         (-0.34, -0.13), (-0.02, -0.23), (0.23, -0.36), (0.42, -0.36)]  # fmt: skip
_BELLY = [(0.38, 0.08), (0.20, 0.24), (-0.05, 0.28), (-0.30, 0.18), (-0.02, 0.14)]
_WING = [(0.22, -0.12), (0.10, 0.07), (-0.18, 0.13), (-0.62, 0.06), (-0.12, -0.17)]
_HEAD, _HEAD_RADIUS = (0.36, -0.42), 0.16
_NECK, _SHOULDER, _RUMP = (0.32, -0.28), (0.2, -0.1), (-0.45, 0.02)


@dataclass(frozen=True)
class Layer:
    """A filled outline, or a line `width` wide, in the bird's units."""

    points: Points
    colour: Colour
    width: float | None = None


@dataclass(frozen=True)
class Bird:
    """Layers from back to front, the middle of each part's marking (4, 2), and where it stands."""

    layers: tuple[Layer, ...]
    parts: Points
    feet: Points

    @property
    def outline(self) -> Points:
        """All points of the filled layers: what the bounding box must hold."""
        return np.concatenate([layer.points for layer in self.layers if layer.width is None])


def random_bird(colours: tuple[Colour, ...], rng: np.random.Generator) -> Bird:
    """A bird of random build, pose and plumage, its markings in `colours`, one for each part."""
    build = np.array([1.0, rng.uniform(0.92, 1.1)])  # slim or stout
    on_body = partial(_posed, build, (0.0, 0.0), 0.0)
    on_head = partial(_posed, build, _NECK, rng.uniform(-0.3, 0.3))
    on_wing = partial(_posed, build, _SHOULDER, rng.uniform(-0.1, 0.1))
    on_tail = partial(_posed, build, _RUMP, rng.uniform(-0.3, 0.3))
    plumage = hsv(rng.uniform(), rng.uniform(0.08, 0.4), rng.uniform(0.3, 0.8))
    horn = hsv(rng.uniform(0.05, 0.12), rng.uniform(0.1, 0.6), rng.uniform(0.15, 0.6))

    x, y = _HEAD
    beak = x + rng.uniform(0.24, 0.4)
    crown = np.linspace(1.0, 1.75, 12) * np.pi  # from the nape over the top to the forehead
    cap = np.stack(
        [x + 1.04 * _HEAD_RADIUS * np.cos(crown), y + 1.04 * _HEAD_RADIUS * np.sin(crown)], 1
    )

    end, half = rng.uniform(-1.12, -0.97), rng.uniform(0.08, 0.12)
    fork = end + rng.uniform(-0.05, 0.06)
    top = np.array([(-0.44, -0.04), (end, 0.06 - half)])
    low = np.array([(-0.44, 0.08), (end, 0.06 + half)])
    rim = [(end, 0.06 + half), (fork, 0.06), (end, 0.06 - half)]

    bar = rng.uniform(-0.2, -0.08)
    markings = (
        on_head(cap),
        on_wing([(bar + 0.08, -0.14), (bar + 0.05, 0.1), (bar - 0.08, 0.11), (bar - 0.05, -0.15)]),
        on_body(smooth([(0.40, 0.02), (0.37, 0.13), (0.26, 0.21), (0.22, 0.1), (0.3, 0.0)])),
        on_tail([*(top[:1] * 0.3 + top[1:] * 0.7), *rim[::-1], *(low[:1] * 0.3 + low[1:] * 0.7)]),
    )
    head, wing, breast, tail = map(Layer, markings, colours)
    legs = [[(foot, 0.2), (foot + 0.03, 0.37), (foot, 0.46)] for foot in (-0.08, 0.06)]
    flecks = rng.uniform((-0.3, -0.1), (0.3, 0.2), (14, 2))
    quills = [
        [(-0.26, r - 0.08), (-0.42, r - 0.04), (-0.56, r / 3 + 0.04)] for r in (0.03, 0.08, 0.13)
    ]
    layers = (
        *(Layer(on_body(leg), shade(horn, 0.8), 0.03) for leg in legs),
        Layer(on_tail([top[0], *rim[::-1], low[0]]), shade(plumage, 0.7)),
        tail,
        Layer(on_head([(x + 0.12, y - 0.05), (beak, y + 0.04), (x + 0.11, y + 0.08)]), horn),
        Layer(on_body(smooth(_BODY)), plumage),
        Layer(on_head(ellipse(x, y, _HEAD_RADIUS, _HEAD_RADIUS)), plumage),
        Layer(on_body(smooth(_BELLY)), shade(plumage, 1.25)),
        *(
            Layer(on_body([fleck, fleck - (0.05, 0)]), shade(plumage, 0.85), 0.012)
            for fleck in flecks
        ),
        breast,
        Layer(on_wing(smooth(_WING)), shade(plumage, 0.78)),
        *(Layer(on_wing(quill), shade(plumage, 0.6), 0.014) for quill in quills),
        wing,
        head,
        Layer(on_head(ellipse(x + 0.07, y + 0.01, 0.027, 0.027)), (20, 20, 20)),
        Layer(on_head(ellipse(x + 0.078, y + 0.002, 0.009, 0.009)), (240, 240, 240)),
    )
    feet = on_body([leg[-1] for leg in legs]).mean(axis=0)
    middles = [(marking.min(axis=0) + marking.max(axis=0)) / 2 for marking in markings]
    return Bird(layers, np.stack(middles), feet)


def draw_bird(draw: ImageDraw.ImageDraw, bird: Bird, frame: Frame) -> None:
    """Draw `bird` at `frame`."""
    for layer in bird.layers:
        if layer.width is None:
            fill(draw, frame(layer.points), layer.colour)
        else:
            stroke(draw, frame(layer.points), layer.colour, layer.width * frame.scale)


def _posed(build: Points, pivot: tuple[float, float], angle: float, points: ArrayLike) -> Points:
    """`points` of the neutral bird in this bird's build, turned by `angle` about `pivot`."""
    return turned(np.asarray(points) * build, np.asarray(pivot) * build, angle)
