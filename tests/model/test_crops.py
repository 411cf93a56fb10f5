import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as v2f

from macnn.model.alignment import CellGrid, part_centres
from macnn.model.crops import crop, squares, strong_box

GRID = CellGrid((8, 8), offset=(4.0, 4.0), stride=(8.0, 8.0))  # 8 x 8 cells of 64 pixels


def delta(column, row):
    attention = torch.zeros(1, 1, 8, 8)
    attention[0, 0, row, column] = 1
    return attention


@pytest.mark.parametrize(
    ("column", "row", "box"),
    [
        (3, 5, [20.0, 36.0, 36.0, 52.0]),
        (5, 3, [36.0, 20.0, 52.0, 36.0]),
        (0, 4, [0.0, 28.0, 16.0, 44.0]),  # moved in from the left
        (4, 7, [28.0, 48.0, 44.0, 64.0]),  # moved in from below
        (7, 0, [48.0, 0.0, 64.0, 16.0]),
    ],
)
def test_a_delta_map_gives_the_square_around_its_cell(column, row, box):
    centres = GRID.to_pixels(part_centres(delta(column, row)))
    assert squares(centres, torch.full((1, 1), 16.0), 64).tolist() == [[box]]


@given(
    st.floats(-50, 150), st.floats(-50, 150), st.floats(0.5, 300), st.sampled_from([32, 64, 100])
)
def test_squares_lie_within_the_photograph(x, y, side, size):
    box = squares(torch.tensor([[[x, y]]]), torch.tensor([[side]]), size)[0, 0]
    assert box.min() >= 0
    assert box.max() <= size + 1e-3
    extent = box[2:] - box[:2]
    torch.testing.assert_close(extent, torch.full((2,), float(min(side, size))), rtol=0, atol=1e-3)


def test_the_strong_box_surrounds_all_cells_above_the_threshold():
    features = torch.zeros(2, 3, 4, 8)
    features[0, :, 1, 2] = 1.0
    features[0, 0, 3, 6] = 1.0  # a third of the strongest
    features[1] = -1.0
    corners = strong_box(features, 0.3)
    assert corners[0].tolist() == [[2 / 8, 1 / 4], [7 / 8, 4 / 4]]
    assert corners[1].tolist() == [[0, 0], [1, 1]]
    assert strong_box(features, 0.4)[0].tolist() == [[2 / 8, 1 / 4], [3 / 8, 2 / 4]]


def test_a_crop_shows_what_is_in_its_box_in_both_axes():
    rows, columns = torch.arange(20.0).view(20, 1), torch.arange(16.0)
    image = (100 * rows + columns).expand(1, 3, 20, 16)
    boxes = torch.tensor([[[3.0, 5.0, 9.0, 11.0], [10.0, 14.0, 16.0, 20.0]]])
    cut = crop(image, boxes, 6)
    assert cut.shape == (1, 2, 3, 6, 6)
    torch.testing.assert_close(cut[0, 0], image[0, :, 5:11, 3:9])
    torch.testing.assert_close(cut[0, 1], image[0, :, 14:20, 10:16])


@pytest.mark.parametrize("size", [7, 16, 33])
def test_a_crop_of_everything_is_a_resize(size):
    image = torch.rand(2, 3, 16, 16)
    boxes = torch.tensor([0.0, 0.0, 16.0, 16.0]).expand(2, 1, 4)
    expected = v2f.resize(image, [size, size], antialias=True)
    torch.testing.assert_close(crop(image, boxes, size)[:, 0], expected)
