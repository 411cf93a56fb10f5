import copy

import pytest
import torch

from macnn.errors import UsageError
from macnn.model.backbones import Backbone, BackboneSpec, ShapesOnly, both, map_shapes
from macnn.model.backbones.taps import PassThrough, as_map, is_signed


def images(size):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, size, size, generator=generator)


@pytest.mark.parametrize(
    ("name", "tap", "shape"),
    [
        ("vgg11", "features.19", (512, 14, 14)),  # before the last pooling, as in the paper
        ("squeezenet1_0", "features", (512, 13, 13)),
        ("resnet18", "layer4", (512, 7, 7)),
        ("mobilenet_v3_small", "features", (576, 7, 7)),
        ("googlenet", "inception5b", (1024, 7, 7)),
        ("convnext_tiny", "features", (768, 7, 7)),
        ("vit_b_32", "encoder", (768, 7, 7)),
        ("swin_t", "permute", (768, 7, 7)),
        ("timm/resnet18", "layer4", (512, 7, 7)),
        ("timm/tf_efficientnet_lite0", "bn2", (1280, 7, 7)),
        ("timm/test_convnext", "norm_pre", (64, 7, 7)),
        ("timm/vit_tiny_patch16_224", "norm", (192, 14, 14)),
        ("timm/vit_small_patch14_reg4_dinov2", "norm", (384, 16, 16)),
        ("timm/swin_tiny_patch4_window7_224", "norm", (768, 7, 7)),
    ],
)
def test_a_network_is_tapped_at_its_last_spatial_map(name, tap, shape):
    with ShapesOnly():
        backbone = Backbone(BackboneSpec(name))
    assert (backbone.spec.tap, backbone.spec.map_tap) == (tap, tap)
    assert map_shapes(backbone, 224) == (shape, shape)


def removed(backbone):
    return {n for n, module in backbone.body.named_modules() if isinstance(module, PassThrough)}


@pytest.mark.parametrize(
    ("name", "tap", "gone"),
    [
        ("resnet18", "layer3", {"layer4", "avgpool", "fc"}),
        ("resnet18", "layer4.0.relu", {"layer4.1", "avgpool", "fc"}),  # runs in the middle too
        ("googlenet", None, {"aux1", "aux2", "avgpool", "dropout", "fc"}),
        ("timm/test_vit", "blocks.2", {"blocks.3", "blocks.4", "blocks.5", "norm", "head"}),
    ],
)
def test_what_no_tap_needs_is_removed(name, tap, gone):
    with ShapesOnly():
        backbone = Backbone(BackboneSpec(name, tap))
    assert gone <= removed(backbone)


@pytest.mark.parametrize(("name", "size"), [("googlenet", 96), ("inception_v3", 128)])
def test_without_auxiliary_heads_a_network_runs_in_both_modes(name, size):
    with ShapesOnly():
        backbone = Backbone(BackboneSpec(name)).to("meta")
    assert not any("aux" in each.lower() for each, _ in backbone.named_parameters())
    shape = map_shapes(backbone, size)[0]
    for training in (True, False):
        assert tuple(backbone.train(training)(images(size).to("meta")).shape[1:]) == shape


@pytest.mark.parametrize(
    ("name", "size", "tap", "map_tap", "idle"),
    [
        ("resnet18", 64, "layer4.0.conv1", None, {"layer4.0.bn1.weight", "layer4.0.conv2.weight"}),
        ("resnet18", 64, "layer4", "layer3.0.conv2", set()),
        ("timm/test_vit", 160, "blocks.3.mlp.act", None, {"blocks.3.mlp.fc2.weight"}),
        ("timm/test_convnext", 160, "stages.2.blocks.1.mlp.act", None, {"stages.2.blocks.1.gamma"}),
        ("vit_b_32", 224, "encoder.layers.encoder_layer_1.ln_2", None, set()),
    ],
)
def test_the_rest_of_a_block_tapped_inside_is_not_trained(name, size, tap, map_tap, idle):
    backbone = Backbone(BackboneSpec(name, tap, map_tap))
    untrained = {n for n, p in backbone.body.named_parameters() if not p.requires_grad}
    assert idle <= untrained
    assert bool(untrained) == bool(idle)
    sum(x.square().sum() for x in both(backbone(images(size)))).backward()
    without = {n for n, p in backbone.body.named_parameters() if p.grad is None}
    assert without == untrained


def test_a_tap_keeps_what_its_layer_gave_though_the_next_changes_it_in_place():
    backbone = Backbone(BackboneSpec("resnet18", "layer4", "layer1.0.bn2")).eval()
    layer, seen = backbone.body.get_submodule("layer1.0.bn2"), []
    layer.register_forward_hook(lambda _m, _i, output: seen.append(output.clone()))
    kept, _ = backbone(images(64))
    assert torch.equal(kept, seen[0])
    assert (kept < 0).any()


@pytest.mark.parametrize("in_front", [0, 1, 2, 5])
def test_tokens_become_a_map_without_those_in_front(in_front):
    grid = torch.rand(2, 6, 4, 4)
    tokens = grid.flatten(2).mT
    assert torch.equal(as_map(torch.cat((torch.rand(2, in_front, 6), tokens), dim=1)), grid)


def test_channels_last_become_first():
    grid = torch.rand(2, 6, 4, 4)
    assert torch.equal(as_map(grid.permute(0, 2, 3, 1)), grid)
    assert torch.equal(as_map(grid), grid)


@pytest.mark.parametrize("output", [(torch.zeros(2, 6, 4, 4), None), {"x": 1}, None])
def test_what_is_no_tensor_stays_as_it_is(output):
    assert as_map(output) is output


@pytest.mark.parametrize(
    ("name", "tap", "said"),
    [
        ("resnet18", "layr3", r"resnet18 has no layer 'layr3'; set `model\.tap`.*layer3"),
        (
            "resnet18",
            "fc",
            r"layer 'fc' of resnet18 gives no spatial map; set `model\.tap`.*layer4",
        ),
        ("resnet18", "avgpool", "gives no spatial map"),  # one cell
        ("timm/test_vit", "head", "gives no spatial map"),
        ("vit_b_32", "encoder.layers.encoder_layer_0.self_attention", "no spatial map"),  # a pair
        # sees windows of an image beside each other, as if they were images
        ("timm/swin_tiny_patch4_window7_224", "layers.0.blocks.0.attn", "gives no spatial map"),
    ],
)
def test_a_tap_that_gives_no_map_is_refused_with_near_ones_that_do(name, tap, said):
    for taps in ((tap, None), (None, tap)):
        with ShapesOnly(), pytest.raises(UsageError, match=said):
            Backbone(BackboneSpec(name, *taps))


@pytest.mark.parametrize(("tap", "map_tap"), [(None, None), ("layer3", "layer2.1.conv1")])
def test_a_copy_of_a_tapped_backbone_is_one_of_its_own(tap, map_tap):
    backbone = Backbone(BackboneSpec("resnet18", tap, map_tap)).eval()
    expected = both(backbone(images(64)))
    other = copy.deepcopy(backbone)
    for parameter in backbone.parameters():
        parameter.data.zero_()
    for got, wanted in zip(both(other(images(64))), expected, strict=True):
        assert torch.equal(got, wanted)
    backbone.load_state_dict(other.state_dict())
    for got, wanted in zip(both(backbone(images(64))), expected, strict=True):
        assert torch.equal(got, wanted)


def test_nothing_of_an_image_stays_behind_in_a_tapped_backbone():
    backbone = Backbone(BackboneSpec("resnet18", "layer3", "layer2")).eval()
    backbone(images(64))
    held = [value for m in backbone.modules() for value in vars(m).values()]
    assert not any(isinstance(value, torch.Tensor) for value in held)


def test_a_network_can_be_cut_where_no_gradients_are_taken():
    with torch.no_grad():
        backbone = Backbone(BackboneSpec("resnet18"))
    assert all(parameter.requires_grad for parameter in backbone.parameters())


@pytest.mark.parametrize(
    ("activation", "signed"),
    [
        (torch.nn.Identity(), True),
        (torch.nn.LayerNorm(8), True),
        (torch.nn.ReLU(), False),
        (torch.nn.SiLU(), False),
        (torch.nn.GELU(), False),
    ],
)
def test_only_what_is_negative_in_good_part_counts_as_signed(activation, signed):
    values = torch.randn(1000, 8, generator=torch.Generator().manual_seed(0))
    assert is_signed(activation(values)) is signed
