import numpy as np
import pytest
import torch
from PIL import Image, ImageColor

from macnn.report.overlays import TILE, heat, mark, overlay, photograph

RED = torch.tensor([200, 40, 40], dtype=torch.uint8)[:, None, None].expand(3, 32, 32)
COLOUR = "#0072B2"


def corner_map() -> torch.Tensor:
    """All attention in the top left quarter."""
    attention = torch.zeros(4, 4)
    attention[:2, :2] = 0.25
    return attention


def pixel(picture: Image.Image, x: float, y: float) -> tuple[int, ...]:
    return picture.getpixel((int(x * TILE), int(y * TILE)))


def has_colour(picture: Image.Image, colour: str) -> bool:
    distance = np.abs(np.asarray(picture).astype(int) - ImageColor.getrgb(colour)).max(-1)
    return bool((distance < 8).any())


def test_a_photograph_keeps_its_colours():
    picture = photograph(RED)
    assert picture.size == (TILE, TILE)
    assert pixel(picture, 0.5, 0.5) == (200, 40, 40)


def test_the_photograph_is_clear_where_attention_is_strong_and_grey_elsewhere():
    picture = overlay(RED, corner_map(), COLOUR)
    assert pixel(picture, 0.1, 0.1) == (200, 40, 40)
    red, green, blue = pixel(picture, 0.9, 0.9)
    assert red == green == blue


def test_the_outline_has_the_parts_colour_and_lies_between_clear_and_grey():
    picture = overlay(RED, corner_map(), COLOUR)
    line = pixel(picture, 0.5 + 1.5 / TILE, 0.1)
    assert np.abs(np.subtract(line, ImageColor.getrgb(COLOUR))).max() < 30
    assert not has_colour(picture.crop((TILE // 2 + 12, 0, TILE, TILE)), COLOUR)


def test_attention_is_shown_relative_to_its_own_range():
    faint = overlay(RED, corner_map() / 1024 + 1 / 32, COLOUR)
    difference = np.asarray(faint).astype(int) - np.asarray(overlay(RED, corner_map(), COLOUR))
    assert np.abs(difference).max() <= 2


def test_a_constant_map_highlights_nothing():
    picture = overlay(RED, torch.full((4, 4), 1 / 16), COLOUR)
    assert np.ptp(np.asarray(picture), axis=(0, 1, 2)) == 0


def test_heat_runs_from_pale_to_the_parts_colour():
    picture = heat(corner_map().bfloat16(), COLOUR)
    assert pixel(picture, 0.1, 0.1) == ImageColor.getrgb(COLOUR)
    assert pixel(picture, 0.9, 0.9) == (0xF4, 0xF4, 0xF4)


@pytest.mark.parametrize("place", [(0.25, 0.75), (0.0, 0.0)])
def test_a_dot_is_drawn_where_it_is_asked_for_and_nowhere_else(place):
    marked = mark(photograph(RED), [(COLOUR, place)])
    assert pixel(marked, *place) == ImageColor.getrgb(COLOUR)
    assert pixel(marked, 0.75, 0.25) == (200, 40, 40)
