import numpy as np
import pytest
import torch
from PIL import ImageColor

from macnn.report.grids import Caption, attention_grid
from macnn.report.overlays import TILE
from macnn.report.style import RIGHT, WRONG, part_colour


def photographs(count: int) -> torch.Tensor:
    return torch.full((count, 3, 64, 64), 90, dtype=torch.uint8)


def maps(count: int, parts: int) -> torch.Tensor:
    logits = torch.randn(count, parts, 49, generator=torch.Generator().manual_seed(0))
    return logits.softmax(-1).reshape(count, parts, 7, 7)


def middles(count: int, parts: int) -> torch.Tensor:
    return torch.full((count, parts, 2), 0.5)


def sheet(count: int, parts: int, **options):
    return attention_grid(photographs(count), maps(count, parts), middles(count, parts), **options)


def shows(picture, colour: str) -> bool:
    distance = np.abs(np.asarray(picture).astype(int) - ImageColor.getrgb(colour)).max(-1)
    return bool((distance < 8).sum() > 5)


def test_the_sheet_has_a_column_per_part_and_a_row_per_photograph():
    narrow = sheet(2, 1)
    wide = sheet(5, 4)
    column, rest = (wide.width - narrow.width) / 3, wide.height - narrow.height
    assert TILE < column < 1.1 * TILE
    assert 3 * TILE < rest < 3.3 * TILE


def test_every_part_appears_in_its_own_colour():
    picture = sheet(1, 3)
    assert [shows(picture, part_colour(i)) for i in range(4)] == [True, True, True, False]


def test_a_dot_marks_where_a_part_is():
    across = []
    for x in (0.25, 0.75):
        centres = torch.tensor([[[x, 0.5]]])
        picture = np.asarray(attention_grid(photographs(1), maps(1, 1), centres)).astype(int)
        apart = np.abs(picture - ImageColor.getrgb(part_colour(0))).max(-1)
        across.append(np.nonzero(apart[:, :TILE] < 8)[1].mean())
    assert across[1] - across[0] == pytest.approx(TILE / 2, abs=1)


def test_captions_tell_right_from_wrong():
    right = sheet(1, 2, captions=[Caption("auk", "auk")])
    wrong = sheet(1, 2, captions=[Caption("auk", "tern")])
    neither = sheet(1, 2, captions=[Caption(predicted="tern")])
    assert [shows(right, RIGHT), shows(right, WRONG)] == [True, False]
    assert [shows(wrong, RIGHT), shows(wrong, WRONG)] == [False, True]
    assert [shows(neither, RIGHT), shows(neither, WRONG)] == [False, False]


def test_the_mean_attention_is_a_row_on_top():
    plain = sheet(2, 2)
    with_mean = sheet(2, 2, mean=maps(2, 2).mean(0))
    assert TILE < with_mean.height - plain.height < 1.1 * TILE


def test_more_parts_than_colours_still_draw():
    assert sheet(1, 9).width > 10 * TILE


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"images": photographs(3)}, "images"),
        ({"images": photographs(2).float()}, "uint8"),
        ({"images": photographs(0), "attention": maps(0, 2)}, "images"),
        ({"attention": maps(2, 2)[0]}, "attention"),
        ({"centres": middles(2, 3)}, "centres"),
        ({"captions": [Caption()]}, "captions"),
        ({"mean": maps(1, 3)[0]}, "mean"),
    ],
)
def test_inputs_that_do_not_fit_are_named(arguments, match):
    fitting = {"images": photographs(2), "attention": maps(2, 2), "centres": middles(2, 2)}
    with pytest.raises(ValueError, match=match):
        attention_grid(**{**fitting, **arguments})
