import pytest
import torch
from torchvision import models

from macnn.errors import CheckpointError, UsageError
from macnn.model.alignment import CellGrid, cell_grid
from macnn.model.backbones import Backbone, BackboneSpec, ShapesOnly, build_backbone


@pytest.mark.parametrize(
    ("name", "shape", "offset"),
    [
        ("squeezenet1_0", (512, 13, 13), 17.5),
        ("resnet18", (512, 7, 7), 0.5),
        ("mobilenet_v3_small", (576, 7, 7), 0.5),
        ("densenet121", (1024, 7, 7), 14.5),
    ],
)
def test_a_torchvision_network_is_cut_at_its_last_spatial_map(name, shape, offset):
    backbone = Backbone(BackboneSpec(name))
    assert backbone.map_shape(224) == shape
    assert cell_grid(backbone.body, 224, shape[1:]).offset == (offset, offset)


def test_vgg_is_cut_at_the_relu_before_the_last_pooling_as_in_the_paper():
    backbone = Backbone(BackboneSpec("vgg11"))
    assert backbone.map_shape(96) == (512, 6, 6)
    assert cell_grid(backbone.body, 96, (6, 6)) == CellGrid((6, 6), (8.0, 8.0), (16.0, 16.0))


def test_a_cell_is_where_its_response_comes_from():
    backbone = Backbone(BackboneSpec("squeezenet1_0")).eval()
    for parameter in backbone.parameters():
        parameter.data.abs_()  # then every pixel in the window of a cell adds to it
    images = torch.rand(1, 3, 288, 288, generator=torch.Generator().manual_seed(0))
    images.requires_grad_()
    features = backbone.body(images)["features"]
    middle = features.shape[-1] // 2
    (gradient,) = torch.autograd.grad(features[0, :, middle, middle].sum(), images)
    columns = gradient[0].abs().amax(dim=(0, 1)).nonzero()
    centre = (columns.min() + columns.max() + 1).item() / 2
    grid = cell_grid(backbone.body, 288, features.shape[2:])
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


def test_a_tap_may_be_chosen():
    backbone = Backbone(BackboneSpec("resnet18", "layer3"))
    assert backbone.map_shape(224) == (256, 14, 14)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (BackboneSpec("resnt18"), "did you mean 'resnet18'"),
        (BackboneSpec("resnet18", "layer9"), "near it: layer"),
    ],
)
def test_an_unknown_network_or_tap_is_refused_with_a_near_one(spec, message):
    with pytest.raises(UsageError) as refused:
        Backbone(spec)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("name", "tap"),
    [
        ("resnet18", "avgpool"),  # one cell
        ("resnet18", "flatten"),
        ("shufflenet_v2_x0_5", "stage2.1.size"),  # a number
        ("vit_b_32", "encoder.layers.encoder_layer_0.self_attention"),  # a pair
    ],
)
def test_a_network_without_a_spatial_map_is_refused(name, tap):
    with ShapesOnly(), pytest.raises(UsageError, match="no spatial map"):
        Backbone(BackboneSpec(name, tap)).map_shape(224)


@pytest.mark.parametrize("name", ["tiny", "regnet_y_128gf", "swin_b"])
def test_the_shape_of_a_map_is_known_before_weights_and_pixels_take_memory(name):
    with ShapesOnly():
        backbone = Backbone(BackboneSpec(name))
    assert sum(p.nbytes for p in backbone.parameters() if p.device.type != "meta") < 2**20
    stride = 8 if name == "tiny" else 32
    assert backbone.map_shape(2048)[1:] == (2048 // stride, 2048 // stride)


@pytest.mark.parametrize("name", ["tiny", "resnet18", "swin_t"])
def test_the_shape_of_a_map_is_that_of_the_features(name):
    backbone = Backbone(BackboneSpec(name)).eval()
    with torch.no_grad():
        features = backbone(torch.zeros(1, 3, 96, 96, dtype=torch.uint8))
    assert backbone.map_shape(96) == tuple(features.shape[1:])


@pytest.mark.parametrize("name", ["squeezenet1_0", "convnext_tiny"])
def test_an_image_that_ends_before_the_layers_do_is_refused(name):
    backbone = Backbone(BackboneSpec(name))
    with pytest.raises(UsageError, match=r"16 px are too small.*larger --img-size"):
        backbone.map_shape(16)
    assert backbone.training


def test_a_size_the_network_was_not_made_for_is_refused():
    with pytest.raises(UsageError, match=r"64 px do not fit.*--img-size"):
        Backbone(BackboneSpec("vit_b_16", "encoder")).map_shape(64)


def test_weights_are_never_fetched_or_left_random_silently():
    with pytest.raises(UsageError, match="--weights FILE"):
        build_backbone(BackboneSpec("squeezenet1_0"), None)


def test_the_wrong_weights_are_refused(real_weights):
    build_backbone(BackboneSpec("squeezenet1_0"), str(real_weights))
    with pytest.raises(CheckpointError, match="not weights of squeezenet1_1"):
        build_backbone(BackboneSpec("squeezenet1_1"), str(real_weights))
