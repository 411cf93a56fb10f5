"""One bird: a body of random build, pose and plumage, with a marking on each of its four parts.

A bird looks to the right in its own units, in which the body is about 1 long; a `Frame` puts it on
the canvas. Only the markings depend on the species.
"""

from dataclasses import dataclass

import numpy as np
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

_BODY = np.array(
    [
        (0.40, -0.08), (0.37, 0.10), (0.20, 0.25), (-0.05, 0.29), (-0.32, 0.18),
        (-0.52, 0.03), (-0.34, -0.13), (-0.02, -0.23), (0.26, -0.27),
    ]
)  # fmt: skip
_BELLY = np.array([(0.36, 0.08), (0.20, 0.24), (-0.05, 0.28), (-0.30, 0.18), (-0.02, 0.14)])
_WING = np.array([(0.22, -0.10), (0.10, 0.09), (-0.18, 0.15), (-0.62, 0.07), (-0.12, -0.15)])
_NECK = np.array([0.30, -0.18])
_RUMP = np.array([-0.45, 0.02])
_HEAD = np.array([0.38, -0.31])
_HEAD_RADIUS = 0.165


@dataclass(frozen=True)
class Bird:
    """Outlines of one bird in its own units, and its colours.

    `markings` and `centres` hold one outline (n, 2) and one point (2,) for each of `PARTS`.
    """

    body: Points
    belly: Points
    wing: Points
    feathers: tuple[Points, ...]
    head: Points
    beak: Points
    eye: Points
    tail: Points
    feet: tuple[Points, ...]
    markings: tuple[Points, ...]
    plumage: Colour
    horn: Colour

    @property
    def centres(self) -> tuple[Points, ...]:
        """The middle of each marking."""
        return tuple(marking.mean(axis=0) for marking in self.markings)

    @property
    def outline(self) -> Points:
        """Every point of the bird, feet left out: what its bounding box must hold."""
        return np.concatenate([self.body, self.head, self.beak, self.tail, self.wing])


def random_bird(rng: np.random.Generator) -> Bird:
    """A bird of random build, pose and plumage."""
    nod, wag, lift = rng.uniform(-0.35, 0.35), rng.uniform(-0.3, 0.3), rng.uniform(-0.1, 0.1)
    fat, beak_length = rng.uniform(0.9, 1.12), rng.uniform(0.10, 0.26)
    stretch = np.array([1.0, fat])
    shoulder = _WING[0] * stretch

    def on_head(points: Points) -> Points:
        return turned(points * stretch, _NECK * stretch, nod)

    def on_tail(points: Points) -> Points:
        return turned(points * stretch, _RUMP * stretch, wag)

    def on_wing(points: Points) -> Points:
        return turned(points * stretch, shoulder, lift)

    x, y = _HEAD
    crown = np.linspace(1.02, 1.75, 12) * np.pi  # from the nape over the top to the forehead
    arc = np.stack([np.cos(crown), np.sin(crown)], axis=1) * _HEAD_RADIUS * 1.04
    low = turned(arc[[-1, 0]] * 0.72, np.zeros(2), 0.0)

    end, half, spread = rng.uniform(-1.12, -0.95), rng.uniform(0.05, 0.07), rng.uniform(0.09, 0.13)
    notch = rng.uniform(-0.06, 0.05)
    band = 0.72  # the share of the tail in front of its coloured band
    base_top, base_low = np.array([-0.44, 0.02 - half]), np.array([-0.44, 0.02 + half])
    tip_top, tip_low = np.array([end, 0.06 - spread]), np.array([end, 0.06 + spread])
    tip = np.array([end - notch, 0.06])
    cut_top = base_top + band * (tip_top - base_top)
    cut_low = base_low + band * (tip_low - base_low)

    across = rng.uniform(-0.10, 0.02)
    bar = np.array(
        [
            (across + 0.08, -0.12),
            (across + 0.03, 0.11),
            (across - 0.10, 0.12),
            (across - 0.05, -0.13),
        ]
    )
    rows = np.linspace(0.03, 0.13, 3)
    return Bird(
        body=smooth(_BODY) * stretch,
        belly=smooth(_BELLY) * stretch,
        wing=on_wing(smooth(_WING)),
        feathers=tuple(
            on_wing(np.array([(-0.14, row - 0.06), (-0.34, row - 0.03), (-0.54, row / 3 + 0.05)]))
            for row in rows
        ),
        head=on_head(ellipse(x, y, _HEAD_RADIUS, _HEAD_RADIUS)),
        beak=on_head(
            np.array(
                [(x + 0.13, y - 0.05), (x + 0.15 + beak_length, y + 0.04), (x + 0.12, y + 0.08)]
            )
        ),
        eye=on_head(ellipse(x + 0.07, y - 0.01, 0.028, 0.028)),
        tail=on_tail(np.array([base_top, tip_top, tip, tip_low, base_low])),
        feet=tuple(
            np.array([(foot, 0.2), (foot + 0.03, 0.36), (foot + 0.0, 0.46)]) * stretch
            for foot in (0.06, -0.08)
        ),
        markings=(
            on_head(_HEAD + np.concatenate([arc, low])),
            on_wing(bar),
            smooth(
                np.array([(0.40, -0.07), (0.375, 0.08), (0.29, 0.15), (0.24, 0.02), (0.30, -0.10)])
            )
            * stretch,
            on_tail(np.array([cut_top, tip_top, tip, tip_low, cut_low])),
        ),
        plumage=hsv(rng.uniform(), rng.uniform(0.08, 0.4), rng.uniform(0.3, 0.8)),
        horn=hsv(rng.uniform(0.05, 0.12), rng.uniform(0.1, 0.6), rng.uniform(0.15, 0.6)),
    )


def draw_bird(
    draw: ImageDraw.ImageDraw,
    bird: Bird,
    frame: Frame,
    colours: tuple[Colour, ...],
    rng: np.random.Generator,
) -> None:
    """Draw `bird` at `frame`, its markings in `colours`, one for each of `PARTS`."""
    scale = float(np.sqrt(abs(np.linalg.det(frame.matrix))))
    plumage = bird.plumage
    head, wing, breast, tail = zip(bird.markings, colours, strict=True)

    def marking(of: tuple[Points, Colour]) -> None:
        fill(draw, frame(of[0]), of[1])

    for foot in bird.feet:
        stroke(draw, frame(foot), shade(bird.horn, 0.8), 0.03 * scale)
    fill(draw, frame(bird.tail), shade(plumage, 0.7))
    marking(tail)
    fill(draw, frame(bird.beak), bird.horn)
    fill(draw, frame(bird.body), plumage)
    fill(draw, frame(bird.head), plumage)
    fill(draw, frame(bird.belly), shade(plumage, 1.25))
    for spot in rng.uniform((-0.3, -0.1), (0.3, 0.2), (14, 2)):
        stroke(
            draw, frame(np.array([spot, spot - (0.05, 0.0)])), shade(plumage, 0.85), 0.012 * scale
        )
    marking(breast)
    fill(draw, frame(bird.wing), shade(plumage, 0.78))
    for feather in bird.feathers:
        stroke(draw, frame(feather), shade(plumage, 0.6), 0.014 * scale)
    marking(wing)
    marking(head)
    fill(draw, frame(bird.eye), (20, 20, 20))
    x, y = bird.eye.mean(axis=0)
    fill(draw, frame(ellipse(x + 0.008, y - 0.008, 0.009, 0.009)), (240, 240, 240))
