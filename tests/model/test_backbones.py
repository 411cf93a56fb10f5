import pytest
import torch
from torch import nn
from torchvision import models

from macnn.errors import CheckpointError, UsageError
from macnn.model.alignment import CellGrid, cell_grid
from macnn.model.backbones import (
    Backbone,
    BackboneSpec,
    ShapesOnly,
    create_backbone,
    map_shapes,
)
from macnn.model.tiny import tiny_weights_path


def test_a_cell_is_where_its_response_comes_from():
    backbone = Backbone(BackboneSpec("squeezenet1_0")).eval()
    for parameter in backbone.parameters():
        parameter.data.abs_()  # then every pixel in the window of a cell adds to it
    images = torch.rand(1, 3, 288, 288, generator=torch.Generator().manual_seed(0))
    images.requires_grad_()
    features = backbone(images)
    middle = features.shape[-1] // 2
    (gradient,) = torch.autograd.grad(features[0, :, middle, middle].sum(), images)
    columns = gradient[0].abs().amax(dim=(0, 1)).nonzero()
    centre = (columns.min() + columns.max() + 1).item() / 2
    grid = cell_grid(backbone, 288, features.shape[2:])
    assert abs(grid.offset[0] + grid.stride[0] * middle - centre) <= 8


def test_pixels_and_fractions_of_the_map_are_inverse():
    grid = CellGrid((13, 9), (17.5, 0.5), (16.0, 32.0))
    points = torch.rand(4, 2)
    torch.testing.assert_close(grid.to_fractions(grid.to_pixels(points)), points)
    first = torch.tensor([0.5 / 13, 0.5 / 9])
    torch.testing.assert_close(grid.to_pixels(first), torch.tensor([17.5, 0.5]))


def test_resampling_an_even_grid_keeps_the_peak_where_it_was():
    grid = CellGrid((4, 4), (4.0, 4.0), (8.0, 8.0))
    maps = torch.zeros(1, 1, 4, 4)
    maps[0, 0, 1, 2] = 1
    image = grid.resample(maps, 32, 32)
    y, x = divmod(image.flatten().argmax().item(), 32)
    assert (x, y) in {(19, 11), (20, 12), (19, 12), (20, 11)}


def test_parameter_names_stay_those_of_torchvision():
    whole = models.squeezenet1_0().state_dict()
    assert set(Backbone(BackboneSpec("squeezenet1_0")).body.state_dict()) < set(whole)


@pytest.mark.parametrize("name", ["tiny", "regnet_y_128gf", "swin_b"])
def test_the_shape_of_a_map_is_known_before_weights_and_pixels_take_memory(name):
    with ShapesOnly():
        backbone = Backbone(BackboneSpec(name))
    assert sum(p.nbytes for p in backbone.parameters() if p.device.type != "meta") < 2**20
    stride = 8 if name == "tiny" else 32
    assert map_shape(backbone, 2048)[1:] == (2048 // stride, 2048 // stride)


@pytest.mark.parametrize("name", ["tiny", "resnet18", "swin_t"])
def test_the_shape_of_a_map_is_that_of_the_features(name):
    backbone = Backbone(BackboneSpec(name)).eval()
    with torch.no_grad():
        features = backbone(torch.zeros(1, 3, 96, 96, dtype=torch.uint8))
    assert map_shape(backbone, 96) == tuple(features.shape[1:])


@pytest.mark.parametrize("name", ["squeezenet1_0", "convnext_tiny"])
def test_an_image_that_ends_before_the_layers_do_is_refused(name):
    backbone = Backbone(BackboneSpec(name))
    with pytest.raises(UsageError, match=r"16 px are too small.*raise `data\.image_size`"):
        map_shape(backbone, 16)
    assert backbone.training


def test_weights_are_never_fetched_or_left_random_silently():
    with pytest.raises(UsageError, match=r"`model\.weights` to a file"):
        create_backbone("squeezenet1_0")


def test_the_wrong_weights_are_refused(real_weights):
    create_backbone("squeezenet1_0", weights=str(real_weights))
    with pytest.raises(CheckpointError, match="not weights of squeezenet1_1"):
        create_backbone("squeezenet1_1", weights=str(real_weights))


def map_shape(backbone, image_size):
    shape, of_features = map_shapes(backbone, image_size)
    assert of_features == shape
    return shape


def images(count=2, size=64):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("name", ["tiny", "resnet18"])
def test_images_may_be_bytes_or_floats_and_normalised_by_the_caller(name):
    backbone = create_backbone(name, weights="none").eval()
    plain = create_backbone(name, weights="none", normalise=False).eval()
    plain.load_state_dict(backbone.state_dict())
    floats = images().float() / 255
    mean, std = backbone.mean, backbone.std
    expected = backbone(images())
    assert torch.equal(backbone(floats), expected)
    assert torch.equal(plain((floats - mean) / std), expected)
    assert not torch.equal(plain(floats), expected)


def test_the_packaged_weights_are_those_of_a_new_tiny_backbone():
    packaged = create_backbone("tiny", weights=tiny_weights_path()).state_dict()
    default = create_backbone("tiny").state_dict()
    assert all(torch.equal(default[name], value) for name, value in packaged.items())


class Untraceable(nn.Module):
    """Looks at values, which neither the meta device nor torch.fx has."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 4, 4)

    def forward(self, images):
        return self.first(images) if images.max() > 1 else self.first(images).relu()


def test_a_backbone_may_look_at_values_which_no_tracing_can():
    backbone = Untraceable()
    assert map_shape(backbone, 32) == (8, 8, 8)
    assert cell_grid(backbone, 32, (8, 8)) == CellGrid((8, 8), (2.0, 2.0), (4.0, 4.0))
    assert backbone.training


class Contrast(nn.Module):
    """Normalises every image by its own contrast, which a plain one does not have."""

    def forward(self, images):
        return images / images.std(dim=(1, 2, 3), keepdim=True)


def test_a_backbone_may_divide_by_the_contrast_of_the_image():
    assert map_shape(Contrast(), 32) == (3, 32, 32)


class Answer(nn.Module):
    """Gives what it is told to, whatever it sees."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, images):
        return self.answer


@pytest.mark.parametrize(
    ("answer", "came"),
    [
        (torch.zeros(1, 8), "(1, 8)"),
        (torch.zeros(1, 8, 4), "(1, 8, 4)"),
        (torch.zeros(1, 8, 1, 1), "(1, 8, 1, 1)"),
        (torch.zeros(1, 8, 0, 4), "(1, 8, 0, 4)"),
        (torch.zeros(8, 4, 4), "(8, 4, 4)"),
        (torch.zeros(2, 8, 4, 4), "(2, 8, 4, 4)"),
        ({"out": torch.zeros(1, 8, 4, 4)}, "dict"),
        ((torch.zeros(1, 8, 4, 4),), "tuple"),
        (None, "NoneType"),
    ],
)
def test_an_output_that_is_no_spatial_map_is_refused_with_what_came(answer, came):
    with pytest.raises(ValueError, match="expected features") as refused:
        map_shape(Answer(answer), 32)
    assert str(refused.value).startswith(f"`backbone`: its output {came} is no spatial map")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_features_that_are_not_finite_are_refused(value):
    with pytest.raises(ValueError, match=r"`backbone`: .*not finite"):
        map_shape(Answer(torch.full((1, 8, 4, 4), value)), 32)


def test_weights_that_are_not_finite_are_refused():
    backbone = nn.Conv2d(3, 8, 4, 4)
    backbone.bias.data[3] = torch.nan
    with pytest.raises(ValueError, match=r"`backbone`: .*not finite"):
        map_shape(backbone, 32)


def test_a_backbone_that_fails_is_refused_with_its_reason():
    with pytest.raises(ValueError, match=r"expected input.* 4 channels, but got 3"):
        map_shape(nn.Conv2d(4, 8, 4), 32)
