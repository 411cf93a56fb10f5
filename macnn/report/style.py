"""What all pictures share: one colour per part, and class names fit to read."""

import re

from macnn.text import shown

PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#0072B2", "#F0E442")
"""Okabe and Ito's colours, which stay apart under the common colour blindnesses."""

INK = "#222222"
RIGHT, WRONG = "#00795A", "#B84A00"  # the palette's green and vermilion, dark enough for text


def part_colour(part: int) -> str:
    """Colour `#rrggbb` of a part, numbered from 0; they repeat after seven."""
    return PALETTE[part % len(PALETTE)]


def readable(class_name: str, longest: int = 200) -> str:
    """A class name as prose: `001.Black_footed_Albatross` becomes `Black footed Albatross`.

    On one line of printable characters, at most `longest`.
    """
    return shown(re.sub(r"^\d+\.", "", class_name).replace("_", " "), longest)
