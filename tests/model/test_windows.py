import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from macnn.model.alignment import CellGrid, cell_grid
from macnn.model.backbones import Backbone, BackboneSpec, both, map_shapes
from macnn.model.windows import cell_centres


def grid_of(name, image_size, tap=None):
    backbone = Backbone(BackboneSpec(name, tap))
    return cell_grid(backbone, image_size, map_shapes(backbone, image_size)[0][1:])


def check(network, image_size, offset, stride):
    """Every cell of a network, which may also be called, is where it should be."""
    x, y = cell_centres(network, network, image_size)
    expected = offset + stride * torch.arange(x.shape[1], dtype=torch.float64)
    torch.testing.assert_close(x, expected.expand_as(x), rtol=0, atol=0.01)
    torch.testing.assert_close(y, expected[:, None].expand_as(y), rtol=0, atol=0.01)


@pytest.mark.parametrize("image_size", [224, 448])
@pytest.mark.parametrize(
    ("name", "offset", "stride"),
    [("squeezenet1_0", 17.5, 16), ("vgg19", 8, 16), ("resnet50", 0.5, 32)],
)
def test_cells_are_where_following_windows_by_hand_puts_them(name, image_size, offset, stride):
    grid = grid_of(name, image_size)
    assert grid.offset == pytest.approx((offset, offset), abs=0.1)
    assert grid.stride == pytest.approx((stride, stride), abs=0.001)


@pytest.mark.parametrize(
    ("name", "offset", "stride"),
    [
        ("timm/tf_efficientnet_lite0", 31.5, 32),  # pads right and below alone, if at all
        ("timm/test_vit", 8, 16),
        ("timm/test_convnext", 16, 32),
        ("timm/pvt_v2_b0", 0.5, 32),  # attends to fewer tokens than it has
        ("timm/eca_nfnet_l0", 10.5, 32),  # some layers get weights and no module
        ("swin_t", 16, 32),  # shifted windows, merged patches
        ("maxvit_t", 0.5, 32),  # attention spelt out; poolings that count what they pad
        ("googlenet", 22.5, 32),  # rounds the sizes of poolings up
        ("densenet121", 14.5, 32),
    ],
)
def test_cells_of_many_kinds_of_networks(name, offset, stride):
    image_size = 256 if name == "timm/test_vit" else 224
    grid = grid_of(name, image_size)
    assert grid.offset == pytest.approx((offset, offset), abs=0.1)
    assert grid.stride == pytest.approx((stride, stride), abs=0.001)


LAYERS = st.lists(
    st.tuples(
        st.sampled_from(["convolution", "max", "average"]),
        st.integers(1, 5),  # kernel
        st.integers(1, 3),  # stride
        st.integers(0, 2),  # padding
        st.integers(1, 3),  # dilation
        st.booleans(),  # sizes rounded up
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=40, deadline=None)
@given(LAYERS, st.integers(24, 49))
def test_cells_of_any_stack_of_layers_are_where_their_windows_are(layers, image_size):
    network, offset, stride, channels = nn.Sequential(), 0.5, 1.0, 3
    for kind, kernel, step, padding, dilation, up in layers:
        padding = min(padding, kernel // 2)
        if kind == "convolution":
            layer = nn.Conv2d(channels, 4, kernel, step, padding, dilation)
            channels = 4
        elif kind == "max":
            layer = nn.MaxPool2d(kernel, step, padding, dilation, ceil_mode=up)
        else:
            layer, dilation = nn.AvgPool2d(kernel, step, padding, ceil_mode=up), 1
        network.append(layer)
        offset += stride * (dilation * (kernel - 1) / 2 - padding)
        stride *= step
    x = torch.zeros(1, 3, image_size, image_size)
    try:
        sizes = [(x := layer(x)).shape[-1] for layer in network]
    except RuntimeError:  # the image ends before the layers do
        return
    assume(1 not in sizes[:-1])  # nothing tells how a single cell goes on beyond the edge
    size = sizes[-1]
    check(network, image_size, offset, stride)
    assert len(cell_centres(network, network, image_size)[0]) == size


@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (4, 1), (2, 3)])
def test_padding_to_the_same_size_keeps_the_size(kernel, dilation):
    layer = nn.Conv2d(3, 2, kernel, padding="same", dilation=dilation)
    seen = dilation * (kernel - 1)
    check(layer, 16, 0.5 + seen / 2 - seen // 2, 1)


class Gated(nn.Module):
    """Squeeze and excitation: a sum that looks at the whole image only scales."""

    def __init__(self):
        super().__init__()
        self.first, self.gate = nn.Conv2d(3, 8, 3, 2), nn.Conv2d(8, 8, 1)

    def forward(self, images):
        x = self.first(images)
        return x * self.gate(x.mean(dim=(2, 3), keepdim=True)).sigmoid()


class Product(nn.Module):
    """A gated linear unit: one half of the channels times the other."""

    def __init__(self, gate):
        super().__init__()
        self.first, self.gate = nn.Conv2d(3, 8, 3, 2), gate

    def forward(self, images):
        x, y = self.first(images).chunk(2, dim=1)
        return x * self.gate(y)


@pytest.mark.parametrize(
    "network", [Gated(), Product(F.silu), Product(torch.sigmoid), Product(abs)]
)
def test_products_of_features_do_not_move_a_cell(network):
    check(network, 31, 1.5, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_dtype_a_backbone_computes_in_changes_nothing(dtype):
    backbone = Backbone(BackboneSpec("timm/test_vit"))
    backbone.compute_dtype = dtype
    check(backbone, 160, 8, 16)


def test_a_network_is_measured_in_its_own_mode_and_left_as_it_was():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.Dropout())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    check(network, 31, 1.5, 2)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


class Mixed(nn.Module):
    """Every cell sees all of the image."""

    def __init__(self):
        super().__init__()
        self.first, self.mixing = nn.Conv2d(3, 4, 8, 8), nn.Linear(16, 16)

    def forward(self, images):
        return self.mixing(self.first(images).flatten(2)).unflatten(2, (4, 4))


class Failing(nn.Module):
    def forward(self, images):
        raise RuntimeError("expected an image")


class Blind(nn.Module):
    """Answers whatever it sees."""

    def forward(self, images):
        return images.new_ones(len(images), 2, 4, 4)


@pytest.mark.parametrize("network", [Mixed(), Failing(), Blind(), nn.Conv2d(3, 2, 8, 16)])
def test_cells_that_cannot_be_measured_share_the_image_evenly(network):
    assert cell_grid(network, 32, (4, 4)) == CellGrid((4, 4), (4.0, 4.0), (8.0, 8.0))


class Edged(nn.Module):
    """Enlarges a map, which repeats its edges: there, cells lie closer to each other."""

    def forward(self, images):
        return F.interpolate(F.avg_pool2d(images, 8), scale_factor=2, mode="bilinear")


def test_cells_at_the_edges_do_not_decide_where_the_others_are():
    assert cell_grid(Edged(), 64, (16, 16)) == CellGrid((16, 16), (2.0, 2.0), (4.0, 4.0))


def test_cells_of_split_signs_are_where_those_of_the_whole_are():
    whole = Backbone(BackboneSpec("resnet18", "layer3.0.bn2")).eval()
    split = Backbone(BackboneSpec("resnet18", "layer3.0.bn2", split_signs=True)).eval()
    grid = cell_grid(split, 64, (4, 4), lambda images: both(split(images))[0])
    assert grid == cell_grid(whole, 64, (4, 4)) != CellGrid((4, 4), (8.0, 8.0), (16.0, 16.0))
