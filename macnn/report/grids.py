"""A sheet of overlays: what each part of a network looks at, photograph by photograph."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from macnn.plotting import font_file
from macnn.report.overlays import TILE, heat, mark, overlay, photograph
from macnn.report.style import INK, RIGHT, WRONG, part_colour, readable
from macnn_kernels import checks

_MARGIN, _GAP = 16, 8  # pixels
_LINE, _TOP = 32, 6  # height of a line of text, and where in it the text starts


@dataclass(frozen=True)
class Caption:
    """Names of a photograph's class and of the class the network gave it, where known."""

    truth: str | None = None
    predicted: str | None = None


def attention_grid(
    images: Tensor,
    attention: Tensor,
    centres: Tensor,
    *,
    captions: Sequence[Caption] | None = None,
    mean: Tensor | None = None,
) -> Image.Image:
    """One row per photograph: itself with the centres of all parts, then one overlay per part.

    Args:
        images: (n, 3, S, S) uint8, n >= 1.
        attention: (n, N, H, W) maps of any device and floating-point dtype.
        centres: (n, N, 2) where each part is, `(x, y)` in fractions of the photograph.
        captions: One per photograph, written above it.
        mean: (N, H, W) mean map of each part over these or more images, for a row on top.

    Raises:
        ValueError: The shapes do not fit each other.
    """
    checks.rank("attention", attention, "n, N, H, W")
    checks.rank("images", images, "n, 3, S, S")
    rows, parts = max(len(attention), 1), attention.shape[1]
    checks.shape("images", images, (rows, 3, *images.shape[-1:] * 2), "one per row of attention")
    checks.shape("centres", centres, (rows, parts, 2), "one point per map")
    if images.dtype != torch.uint8:
        raise ValueError(f"images: expected uint8, got {checks.describe(images)}")
    if captions is not None and len(captions) != rows:
        raise ValueError(f"captions: {len(captions)} for {rows} images")

    colours = [part_colour(part) for part in range(parts)]
    sheet = _Sheet(columns=1 + parts)
    sheet.headings(colours)
    if mean is not None:
        checks.shape("mean", mean, tuple(attention.shape[1:]), "one map per part")
        sheet.row([_words("mean attention"), *map(heat, mean, colours)])
    for row, of_parts in enumerate(centres.tolist()):
        if captions is not None:
            sheet.caption(captions[row])
        dots = list(zip(colours, of_parts, strict=True))
        overlays = map(overlay, [images[row]] * parts, attention[row], colours)
        marked = [mark(seen, [dot]) for seen, dot in zip(overlays, dots, strict=True)]
        sheet.row([mark(photograph(images[row]), dots), *marked])
    return sheet.picture()


class _Sheet:
    """A white page that grows downwards, line by line and row by row."""

    def __init__(self, columns: int) -> None:
        self._width = 2 * _MARGIN + columns * (TILE + _GAP) - _GAP
        self._strips: list[Image.Image] = []

    def headings(self, colours: Sequence[str]) -> None:
        """A line that names the parts over their columns, which start at the second."""
        draw = self._line()
        for part, colour in enumerate(colours, start=1):
            x = _left(part)
            draw.rounded_rectangle((x, _TOP + 3, x + 14, _TOP + 17), radius=4, fill=colour)
            draw.text((x + 22, _TOP), f"part {part}", fill=INK, font=_font("Bold"))

    def caption(self, caption: Caption) -> None:
        """A line with the true class in bold, and what the network made of it."""
        draw = self._line()
        x: float = _MARGIN
        if caption.truth is not None:
            name = readable(caption.truth)
            draw.text((x, _TOP), name, fill=INK, font=_font("Bold"))
            x += draw.textlength(name, font=_font("Bold")) + 14
        if caption.predicted is not None:
            text, colour = f"predicted {readable(caption.predicted)}", INK
            if caption.truth is not None:
                right = caption.predicted == caption.truth
                text = "✓ recognised" if right else f"✗ {text}"
                colour = RIGHT if right else WRONG
            draw.text((x, _TOP), text, fill=colour, font=_font())

    def row(self, tiles: Sequence[Image.Image]) -> None:
        """A row of tiles, TILE pixels high."""
        strip = self._strip(TILE + _GAP)
        for column, tile in enumerate(tiles):
            strip.paste(tile, (_left(column), 0))

    def picture(self) -> Image.Image:
        """The finished page."""
        height = sum(strip.height for strip in self._strips)
        page = Image.new("RGB", (self._width, height + 2 * _MARGIN - _GAP), "white")
        y = _MARGIN
        for strip in self._strips:
            page.paste(strip, (0, y))
            y += strip.height
        return page

    def _line(self) -> ImageDraw.ImageDraw:
        return ImageDraw.Draw(self._strip(_LINE))

    def _strip(self, height: int) -> Image.Image:
        self._strips.append(Image.new("RGB", (self._width, height), "white"))
        return self._strips[-1]


def _left(column: int) -> int:
    return _MARGIN + column * (TILE + _GAP)


def _words(text: str) -> Image.Image:
    """A blank tile with a text in its middle."""
    tile = Image.new("RGB", (TILE, TILE), "white")
    middle = (TILE // 2, TILE // 2)
    ImageDraw.Draw(tile).text(middle, text, fill=INK, font=_font(), anchor="mm")
    return tile


@cache
def _font(style: str = "") -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_file(style), size=16)
