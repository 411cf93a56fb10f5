import pytest
import torch
from torch import nn

from macnn.model import MACNN
from macnn.model.alignment import CellGrid
from macnn.model.receptive_field import gaze

GRID = CellGrid((4, 4), (4.0, 4.0), (8.0, 8.0))


class Leaning(nn.Module):
    """Cells of 8 x 8 pixels, of which only some columns and rows are looked at."""

    def __init__(self, columns, rows):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 8, stride=8, bias=False)
        seen = torch.zeros(8, 8)
        seen[rows, columns] = 1
        self.first.weight.data = seen.expand(4, 3, 8, 8).clone()

    def forward(self, images):
        return self.first(images)


def images(count=6):
    draw = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, 32, 32, generator=draw)


@pytest.mark.parametrize(
    ("columns", "rows", "expected"),
    [
        (slice(0, 8), slice(0, 8), (0.0, 0.0)),
        (slice(0, 4), slice(0, 8), (-2.0, 0.0)),
        (slice(0, 8), slice(6, 8), (0.0, 3.0)),
    ],
)
def test_cells_look_where_their_weights_lean(columns, rows, expected):
    found = gaze(Leaning(columns, rows), GRID, images())
    torch.testing.assert_close(found, torch.tensor([expected] * 6, dtype=torch.float64))


def test_bytes_are_looked_at_as_floats_are():
    backbone = Leaning(slice(0, 4), slice(0, 8))
    as_bytes = (images() * 255).round().to(torch.uint8)
    assert torch.equal(gaze(backbone, GRID, as_bytes), gaze(backbone, GRID, as_bytes.float() / 255))


def test_what_nothing_moves_looks_nowhere():
    backbone = Leaning(slice(0, 8), slice(0, 8))
    nn.init.zeros_(backbone.first.weight)
    assert gaze(backbone, GRID, images()).isnan().all()


def test_a_shift_moves_the_cells_and_is_part_of_the_state():
    model = MACNN(Leaning(slice(0, 8), slice(0, 8)), 2, 3, image_size=32)
    assert model.grid == model.windows == GRID
    model.shift.set(-2.0, 3.0)
    again = MACNN(Leaning(slice(0, 8), slice(0, 8)), 2, 3, image_size=32)
    again.load_state_dict(model.state_dict())
    assert again.grid == CellGrid((4, 4), (2.0, 7.0), (8.0, 8.0))
