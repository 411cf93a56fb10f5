"""Everything around the bird: background, branches, leaves, and things that bear part colours."""

import numpy as np
from PIL import Image, ImageDraw

from macnn.data.synth.shapes import Colour, Frame, Points, ellipse, fill, hsv, shade, smooth, stroke

_LEAF = np.array([(-0.5, 0.0), (-0.2, -0.2), (0.2, -0.17), (0.5, 0.0), (0.2, 0.17), (-0.2, 0.2)])


def background(size: int, rng: np.random.Generator) -> Image.Image:
    """A blurred sky, wood or meadow, (size, size) RGB: a gradient under noise of three scales."""
    hue = rng.uniform(0.1, 0.62)  # from ochre over green to blue
    ends = [hsv(hue + rng.uniform(-0.08, 0.08), rng.uniform(0.1, 0.5), rng.uniform(0.35, 0.9))
            for _ in range(2)]  # fmt: skip
    ramp = np.linspace(0, 1, size)[:, None, None]
    picture = np.broadcast_to((1 - ramp) * ends[0] + ramp * ends[1], (size, size, 3)).copy()
    for cells, strength in ((4, 22.0), (10, 14.0), (40, 7.0)):
        noise = rng.normal(scale=strength, size=(cells, cells)).astype(np.float32)
        picture += np.asarray(
            Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC)
        )[..., None]
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def branch(
    draw: ImageDraw.ImageDraw, points: Points, width: float, rng: np.random.Generator
) -> None:
    """A branch along `points`, lit from above."""
    bark = hsv(rng.uniform(0.05, 0.1), rng.uniform(0.2, 0.5), rng.uniform(0.2, 0.5))
    stroke(draw, points, bark, width)
    stroke(draw, points - (0, 0.25 * width), shade(bark, 1.3), 0.3 * width)


def leaf(draw: ImageDraw.ImageDraw, frame: Frame, rng: np.random.Generator) -> None:
    """A leaf, 1 unit long."""
    green = hsv(rng.uniform(0.15, 0.4), rng.uniform(0.3, 0.7), rng.uniform(0.25, 0.7))
    fill(draw, frame(smooth(_LEAF, 5)), green)
    stroke(draw, frame(np.array([(-0.5, 0.0), (0.5, 0.0)])), shade(green, 0.75), 1)


def decoy(
    draw: ImageDraw.ImageDraw, frame: Frame, colour: Colour, rng: np.random.Generator
) -> None:
    """Something 1 unit long in plumage colours that bears a patch like a part's marking."""
    body = hsv(rng.uniform(), rng.uniform(0.08, 0.4), rng.uniform(0.3, 0.8))
    kind = rng.integers(4)
    if kind == 0:  # a fruit with a cap
        fill(draw, frame(ellipse(0, 0, 0.4, 0.36)), body)
        arc = np.linspace(1.05, 1.85, 10) * np.pi
        fill(draw, frame(np.stack([0.42 * np.cos(arc), 0.38 * np.sin(arc)], axis=1)), colour)
    elif kind == 1:  # a leaf with a bar
        fill(draw, frame(smooth(_LEAF, 5) * 1.3), body)
        fill(draw, frame(np.array([(0.1, -0.2), (0.14, 0.2), (-0.12, 0.2), (-0.16, -0.2)])), colour)
    elif kind == 2:  # a bud with a spot
        fill(draw, frame(smooth(_LEAF, 5) * (1, 1.5)), body)
        fill(draw, frame(ellipse(0.1, 0.02, 0.18, 0.14)), colour)
    else:  # a blade with a coloured tip
        fill(draw, frame(np.array([(-0.6, -0.08), (0.5, -0.16), (0.5, 0.16), (-0.6, 0.08)])), body)
        fill(draw, frame(np.array([(0.2, -0.14), (0.5, -0.16), (0.5, 0.16), (0.2, 0.14)])), colour)


def berries(
    draw: ImageDraw.ImageDraw, frame: Frame, colour: Colour, rng: np.random.Generator
) -> None:
    """A few berries."""
    for x, y in rng.uniform(-0.5, 0.5, (rng.integers(2, 5), 2)):
        fill(draw, frame(ellipse(x, y, 0.24, 0.24)), colour)
        fill(draw, frame(ellipse(x - 0.07, y - 0.08, 0.06, 0.06)), shade(colour, 1.4))
