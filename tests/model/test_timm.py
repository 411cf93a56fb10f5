"""Networks of timm and of torchvision, with random weights."""

import pytest
import torch

import macnn
from macnn.errors import CheckpointError, UsageError
from macnn.inference.formats import FORMATS
from macnn.inference.recogniser import Recogniser
from macnn.model import MACNN, create_backbone
from macnn.model.backbones import (
    Backbone,
    BackboneSpec,
    ShapesOnly,
    both,
    from_timm,
    input_config,
    map_shapes,
)

NETWORKS = [  # name, side of the images
    ("resnet18", 64),
    ("convnext_tiny", 64),
    ("vit_b_32", 224),
    ("swin_t", 64),
    ("efficientnet_b0", 64),
    ("timm/test_resnet", 96),
    ("timm/test_convnext", 96),
    ("timm/test_vit", 96),
    ("timm/swin_tiny_patch4_window7_224", 64),
    ("timm/test_efficientnet", 96),
]
SMALL = {"resnet18", "timm/test_resnet", "timm/test_convnext", "timm/test_vit"}


def images(size, count=4):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(
    ("name", "size"),
    [pytest.param(*each, marks=[pytest.mark.slow] * (each[0] not in SMALL)) for each in NETWORKS],
)
def test_parts_of_any_family_are_found_trained_and_exported(name, size):
    torch.manual_seed(0)
    model = MACNN(create_backbone(name, weights="none"), parts=2, classes=3, image_size=size)
    batches = [(images(size), torch.tensor([0, 1, 2, 0]))]
    found = macnn.find_parts(model, batches, restarts=2, fit_steps=5)
    assert min(found.groups.sizes) >= 1
    before = [p.clone() for p in model.backbone.parameters()]
    macnn.train(model, batches, rounds=1, epochs=1, warmup=0, grouping_steps=2)
    assert any(
        not torch.equal(old, new)
        for old, new in zip(before, model.backbone.parameters(), strict=True)
    )
    recogniser = Recogniser(model.eval()).eval()
    with torch.no_grad():
        answer = recogniser(images(size))
        program = torch.export.export(recogniser, (images(size),)).module()
        logits, boxes = program(images(size))
    assert answer.logits.isfinite().all()
    torch.testing.assert_close(logits, answer.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(boxes, answer.boxes, rtol=0, atol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["timm/test_vit", "timm/test_efficientnet"])
def test_an_onnx_file_answers_as_the_network_it_was_made_from(tmp_path, name):
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    model = MACNN(create_backbone(name, weights="none"), parts=2, classes=3, image_size=96)
    recogniser = Recogniser(model.eval()).eval()
    FORMATS["onnx"].write(recogniser, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    logits, boxes = session.run(["logits", "boxes"], {"images": images(96).numpy()})
    with torch.no_grad():
        expected = recogniser(images(96))
    torch.testing.assert_close(torch.from_numpy(logits), expected.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.from_numpy(boxes), expected.boxes, rtol=0, atol=0.01)


@pytest.mark.parametrize("name", ["timm/test_vit", "timm/test_convnext", "timm/test_resnet"])
def test_layers_that_keep_single_precision_answer_in_the_dtype_asked_for(name):
    backbone = Backbone(BackboneSpec(name, split_signs=True)).eval()
    with torch.no_grad():
        expected = both(backbone(images(160)))
        backbone.compute_dtype = torch.bfloat16
        for got, single in zip(both(backbone(images(160))), expected, strict=True):
            assert got.dtype == torch.bfloat16
            assert (got.float() - single).abs().mean() < 0.05 * single.abs().mean()


@pytest.mark.parametrize(
    ("name", "size", "shape"),
    [
        ("timm/vit_tiny_patch16_224", 336, (192, 21, 21)),
        ("timm/swin_tiny_patch4_window7_224", 336, (768, 11, 11)),  # 10.5 cells, padded
        ("timm/swinv2_tiny_window8_256", 384, (768, 12, 12)),
        ("swin_t", 336, (768, 11, 11)),
    ],
)
def test_transformers_take_images_of_other_sizes_than_they_were_made_for(name, size, shape):
    with ShapesOnly():
        assert map_shapes(Backbone(BackboneSpec(name)), size)[0] == shape


def test_positions_of_a_transformer_are_resampled_not_cut():
    backbone = Backbone(BackboneSpec("timm/test_vit", "pos_drop")).eval()
    backbone.body.pos_embed.data[:, 1:] = torch.linspace(0, 1, 100)[None, :, None]
    with torch.no_grad():
        for layer in (backbone.body.patch_embed.proj.weight, backbone.body.patch_embed.proj.bias):
            layer.zero_()
        rows = backbone(images(240, 1)).mean(dim=(0, 1, 3))
    assert rows[-1] > 0.9  # of 15, as of 10
    assert (rows.diff() > 0).all()


@pytest.mark.parametrize(
    ("name", "size", "made_for"),
    [("vit_b_32", 336, 224), ("timm/mixer_s32_224", 256, 224), ("timm/test_vit", 100, 160)],
)
def test_a_size_a_network_cannot_take_is_refused_with_the_one_it_was_made_for(name, size, made_for):
    with ShapesOnly():
        backbone = Backbone(BackboneSpec(name))
    with pytest.raises(UsageError, match=rf"{size} px do not fit.*made for, {made_for}") as refused:
        map_shapes(backbone, size)
    assert "\n" not in str(refused.value)


def test_without_timm_its_extra_is_named(monkeypatch):
    monkeypatch.setattr(from_timm, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"^timm: not installed; pip install 'macnn\[timm\]'$"):
        create_backbone("timm/resnet18", weights="none")
    with pytest.raises(UsageError, match="did you mean 'resnet18'"):  # names of torchvision do
        create_backbone("resnt18", weights="none")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("timm/resnet5", "timm/resnet50"),
        ("timm/resnet18.a1_in2k", "timm/resnet18.a1_in1k"),
        ("vit_tiny_patch16_224", "timm/vit_tiny_patch16_224"),
    ],
)
def test_for_an_unknown_name_the_nearest_is_told(name, near):
    with pytest.raises(UsageError, match=f"did you mean '{near}'"):
        create_backbone(name, weights="none")


def test_a_name_may_say_which_weights():
    assert input_config("timm/convnext_tiny.fb_in22k_ft_in1k_384").image_size == 384
    assert input_config("timm/convnext_tiny").image_size == 224
    spec = Backbone(BackboneSpec("timm/test_resnet.r160_in1k")).spec
    assert spec.name == "timm/test_resnet.r160_in1k"


def test_images_are_normalised_as_the_weights_expect():
    assert Backbone(BackboneSpec("timm/test_vit")).spec.mean == (0.5, 0.5, 0.5)
    assert Backbone(BackboneSpec("timm/resnet10t")).spec.std == (0.229, 0.224, 0.225)
    assert input_config("timm/test_vit").interpolation == "bicubic"


@pytest.mark.parametrize("error", [OSError("no route"), RuntimeError("invalid hash\nat line 3")])
@pytest.mark.parametrize(
    ("name", "download", "file"),
    [
        ("resnet18", "torchvision.models._api", "resnet18-f37072fd.pth.*put it at "),
        ("timm/test_resnet", "timm.models._builder", "model.safetensors of timm/test_resnet"),
    ],
)
def test_without_a_download_the_file_to_fetch_is_named(monkeypatch, name, download, file, error):
    def fail(*_, **__):
        raise error

    for function in ("load_state_dict_from_url", "load_state_dict_from_hf"):
        monkeypatch.setattr(f"{download}.{function}", fail, raising=False)
    with pytest.raises(CheckpointError, match=rf"the download failed.*fetch .*{file}") as refused:
        create_backbone(name, weights="pretrained")
    assert "\n" not in str(refused.value)
    assert "`model.weights`" in str(refused.value)


def test_a_network_timm_has_no_weights_for_is_refused():
    with pytest.raises(CheckpointError, match="timm has no weights for it"):
        create_backbone("timm/coatnet_0_224", weights="pretrained")


def test_weights_of_timm_are_read_from_a_file(real_timm_weights):
    backbone = create_backbone("timm/tf_efficientnet_lite0", weights=real_timm_weights)
    assert backbone.spec.split_signs is False  # its last layer is a ReLU6
    with pytest.raises(CheckpointError, match="not weights of timm/test_efficientnet"):
        create_backbone("timm/test_efficientnet", weights=real_timm_weights)


@pytest.mark.parametrize(
    ("name", "signed"),
    [
        ("timm/test_convnext", True),
        ("timm/test_vit", True),
        ("timm/test_resnet", False),
        ("tiny", False),
    ],
)
def test_channels_of_both_signs_are_split(name, signed):
    weights = None if name == "tiny" else "none"
    assert create_backbone(name, weights=weights).spec.split_signs is signed
    for asked in (True, False):
        assert create_backbone(name, weights=weights, split_signs=asked).spec.split_signs is asked


def test_a_split_channel_becomes_its_positive_and_its_negative_part():
    backbone = create_backbone("timm/test_vit", weights="none").eval()
    assert map_shapes(backbone, 160) == ((128, 10, 10), (64, 10, 10))
    with torch.no_grad():
        seen, features = backbone(images(160))
    positive, negative = seen.chunk(2, dim=1)
    assert (seen >= 0).all()
    assert torch.equal(positive - negative, features)
    assert torch.equal(torch.minimum(positive, negative), torch.zeros_like(positive))
