import torch

from macnn.model.alignment import CellGrid, part_centres


def test_part_centres_are_the_middles_of_peak_cells():
    attention = torch.zeros(1, 2, 2, 4)
    attention[0, 0, 1, 3] = 1
    attention[0, 1, 0] = 0.25
    assert part_centres(attention).tolist() == [[[0.875, 0.75], [0.125, 0.25]]]


def test_a_scaled_grid_has_its_cells_at_the_same_share_of_the_image():
    grid = CellGrid((4, 3), offset=(2.0, 3.0), stride=(8.0, 10.0))
    points = torch.rand(5, 2)
    torch.testing.assert_close(grid.scaled(2).to_pixels(points), 2 * grid.to_pixels(points))
