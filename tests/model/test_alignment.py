import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from macnn.model import PartLocator, create_backbone
from macnn.model.alignment import CellGrid, between, cell_grid, part_centres
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


GRIDS = [
    CellGrid((4, 4), (8.0, 8.0), (16.0, 16.0)),
    CellGrid((8, 8), (4.0, 4.0), (8.0, 8.0)),
    CellGrid((13, 13), (4.5, 4.5), (4.5, 4.5)),
    CellGrid((5, 3), (0.5, 0.5), (16.0, 30.0)),
    CellGrid((1, 1), (32.0, 32.0), (64.0, 64.0)),
]


@pytest.mark.parametrize("maps", GRIDS)
@pytest.mark.parametrize("features", GRIDS)
def test_a_map_carried_to_other_cells_keeps_its_sum(maps, features):
    weights = between(maps, features)
    assert weights.shape == (math.prod(maps.size), math.prod(features.size))
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(len(weights)))


@pytest.mark.parametrize("grid", GRIDS)
def test_a_map_carried_to_its_own_cells_stays_as_it_is(grid):
    torch.testing.assert_close(between(grid, grid), torch.eye(math.prod(grid.size)))


def test_a_finer_map_gives_to_the_cells_about_it_by_their_distance():
    fine, coarse = (
        CellGrid((4, 1), (4.0, 8.0), (8.0, 16.0)),
        CellGrid((2, 1), (8.0, 8.0), (16.0,) * 2),
    )
    expected = torch.tensor([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    torch.testing.assert_close(between(fine, coarse), expected)
    back = torch.tensor([[3 / 7, 3 / 7, 1 / 7, 0], [0, 1 / 7, 3 / 7, 3 / 7]])
    torch.testing.assert_close(between(coarse, fine), back)


@pytest.mark.parametrize(("tap", "map_tap"), [("layer4", "layer3"), ("layer2", "layer4")])
def test_features_are_averaged_where_the_maps_of_another_layer_look(tap, map_tap):
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", weights="none", tap=tap, map_tap=map_tap)
    model = PartLocator(backbone, parts=2, image_size=96).eval()
    with torch.no_grad():
        maps, features = backbone(torch.rand(3, 3, 96, 96))
        attention, found = model.attend((maps, features))
    assert attention.shape[2:] == maps.shape[2:] != features.shape[2:]
    torch.testing.assert_close(attention.sum(dim=(2, 3)), torch.ones(3, 2))
    carry = between(
        cell_grid(backbone, 96, maps.shape[2:], lambda x: backbone(x)[0]),
        cell_grid(backbone, 96, features.shape[2:], lambda x: backbone(x)[1]),
    )
    weights = (attention.flatten(2) @ carry).unflatten(2, features.shape[2:])
    expected = (weights[:, :, None] * features[:, None]).sum(dim=(3, 4))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
