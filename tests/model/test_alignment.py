import torch
from hypothesis import given
from hypothesis import strategies as st

from macnn.model.alignment import CellGrid, part_centres
from macnn_kernels import channel_peaks


def test_a_part_is_where_the_attention_about_its_peak_has_its_centre():
    attention = torch.zeros(1, 3, 2, 4)
    attention[0, 0, 1, 3] = 1  # nothing around it: the middle of the cell
    attention[0, 1, 0, 1:3] = 0.5  # two equal cells: between them
    attention[0, 2, 0] = torch.tensor([0.5, 0.25, 0.0, 0.25])  # what is far away does not pull
    x, y = part_centres(attention)[0].T
    torch.testing.assert_close(x, torch.tensor([3.5, 2.0, 2.5 / 3]) / 4)
    torch.testing.assert_close(y, torch.tensor([1.5, 0.5, 0.5]) / 2)


@given(st.integers(0, 2**32 - 1))
def test_a_part_is_never_further_from_its_peak_than_a_cell(seed):
    generator = torch.Generator().manual_seed(seed)
    attention = torch.rand(2, 3, 5, 7, generator=generator).pow(8)
    cells = part_centres(attention) * torch.tensor([7, 5]) - 0.5
    peaks = channel_peaks(attention)
    apart = cells - torch.stack((peaks.x, peaks.y), dim=-1)
    assert apart.abs().max() < 1


def test_a_scaled_grid_has_its_cells_at_the_same_share_of_the_image():
    grid = CellGrid((4, 3), offset=(2.0, 3.0), stride=(8.0, 10.0))
    points = torch.rand(5, 2)
    torch.testing.assert_close(grid.scaled(2).to_pixels(points), 2 * grid.to_pixels(points))
