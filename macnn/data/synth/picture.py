"""One picture: a bird of a given species in a scene, with its box and part centres."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from macnn.data.samples import Box
from macnn.data.synth.bird import draw_bird, random_bird
from macnn.data.synth.classes import Species
from macnn.data.synth.scenery import background, berries, branch, decoy, leaf
from macnn.data.synth.shapes import Colour, Frame, Points, shade

_PAINT: dict[str, Colour] = {
    "red": (205, 40, 45),
    "blue": (40, 85, 210),
    "gold": (240, 190, 40),
    "white": (242, 242, 242),
    "black": (22, 22, 26),
}
_SUPERSAMPLING = 3


@dataclass(frozen=True)
class Picture:
    """A picture (size, size) RGB; `box` and `keypoints`, one per part, in its pixels."""

    image: Image.Image
    box: Box
    keypoints: tuple[tuple[float, float], ...]


def draw_picture(
    species: Species, rng: np.random.Generator, *, colours: Sequence[str], size: int = 224
) -> Picture:
    """Draw a bird of `species`; everything else about the picture is up to `rng`.

    The scenery has things of all `colours` in it, so that a colour tells nothing without its place.
    """
    canvas = size * _SUPERSAMPLING
    image = background(size, rng).resize((canvas, canvas), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(image)

    bird = random_bird(tuple(_paint(colour, rng) for colour in species), rng)
    angle, mirror = rng.uniform(-0.7, 0.1), bool(rng.integers(2))
    length = rng.uniform(0.55, 0.8)
    frame = _placed(bird.outline, length, angle, mirror, rng)
    frame = Frame(frame.matrix * canvas, frame.origin * canvas)
    corners = np.stack([frame(bird.outline).min(axis=0), frame(bird.outline).max(axis=0)])

    _clutter(draw, canvas, colours, rng)
    feet = frame(bird.feet)
    slope = rng.uniform(-0.15, 0.15)
    along = np.array([0.0, *sorted(rng.uniform(0.2, 0.8, 2)), 1.0]) * canvas
    bend = rng.normal(scale=0.01 * canvas, size=4)
    perch = np.stack([along, feet[1] + slope * (along - feet[0]) + bend * (along != 0)], axis=1)
    branch(draw, perch, rng.uniform(0.02, 0.035) * canvas, rng)

    draw_bird(draw, bird, frame)
    image = _lit(image.reduce(_SUPERSAMPLING), rng)

    (left, top), (right, bottom) = corners / _SUPERSAMPLING
    box = Box(left, top, right - left, bottom - top)
    keypoints = tuple((float(x), float(y)) for x, y in frame(bird.parts) / _SUPERSAMPLING)
    return Picture(image, box, keypoints)


def _placed(
    outline: Points, length: float, angle: float, mirror: bool, rng: np.random.Generator
) -> Frame:
    """A frame in a canvas of side 1 in which `outline` is `length` long and wholly inside."""
    frame = Frame.at(0, 0, 1, angle, mirror)
    low, high = frame(outline).min(axis=0), frame(outline).max(axis=0)
    scale = length / (high - low).max()
    margin = 0.03
    corner = rng.uniform(margin, 1 - margin - scale * (high - low))
    return Frame(frame.matrix * scale, corner - scale * low)


def _clutter(
    draw: ImageDraw.ImageDraw, canvas: int, colours: Sequence[str], rng: np.random.Generator
) -> None:
    def somewhere(small: float, large: float) -> Frame:
        x, y = rng.uniform(0, canvas, 2)
        return Frame.at(x, y, rng.uniform(small, large) * canvas, rng.uniform(0, 2 * np.pi))

    for _ in range(rng.integers(2, 5)):
        ends = rng.uniform(-0.1, 1.1, (3, 2)) * canvas
        branch(draw, ends, rng.uniform(0.008, 0.025) * canvas, rng)
    for _ in range(rng.integers(8, 22)):
        leaf(draw, somewhere(0.06, 0.16), rng)
    for _ in range(rng.integers(10, 19)):
        colour = _paint(rng.choice(colours), rng)
        decoy(draw, somewhere(0.10, 0.2), colour, rng)
    for _ in range(rng.integers(1, 4)):
        colour = _paint(rng.choice(colours), rng)
        berries(draw, somewhere(0.04, 0.08), colour, rng)


def _paint(name: str, rng: np.random.Generator) -> Colour:
    """The colour `name`, as one bird or berry bears it."""
    red, green, blue = _PAINT[name]
    jitter = rng.integers(-14, 15, 3)
    return shade((red + int(jitter[0]), green + int(jitter[1]), blue + int(jitter[2])), 1.0)


def _lit(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """`image` under random light: brightness, contrast, tint, a slanting shadow, sensor noise."""
    pixels = np.asarray(image, dtype=np.float64)
    size = len(pixels)
    slant = rng.uniform(-0.25, 0.25, 2)
    ramp = np.linspace(-0.5, 0.5, size)
    light = 1 + slant[0] * ramp[:, None] + slant[1] * ramp[None, :]
    gain = rng.uniform(0.75, 1.1) * rng.uniform(0.93, 1.07, 3)
    contrast = rng.uniform(0.75, 1.1)
    pixels = (pixels * light[..., None] * gain - 120) * contrast + 120
    pixels += rng.normal(scale=rng.uniform(1, 5), size=pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
