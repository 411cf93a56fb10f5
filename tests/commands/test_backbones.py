"""`backbones`: what is known of one, and what its layers give."""

import pytest
import torch

from macnn.commands.backbones import _follows as follows
from macnn.commands.backbones import describe, find
from macnn.config import resolve
from macnn.data.loaders import Loader
from macnn.errors import CheckpointError, UsageError
from macnn.events import silent
from macnn.model.backbones import create_backbone, from_timm
from macnn.model.backbones.backbone import library
from macnn.model.backbones.taps import layers
from macnn_kernels import Peaks


def described(name, *, everything=False, **flags):
    settings = resolve(flags={k.replace("__", "."): v for k, v in flags.items()}).settings
    return describe(name, settings, everything=everything, listen=silent)


def named(found):
    return {each["layer"]: each for each in found["layers"]}


RESNET, CONVNEXT = "timm/test_resnet", "timm/test_convnext"  # small ones, to try things


@pytest.fixture
def weights(tmp_path):
    """A file of weights for a network: `weights(name)`, random, or each times `scale`."""

    def write(name, scale=1):
        torch.manual_seed(0)
        tensors = library(name).build(name).state_dict()
        torch.save({key: tensor * scale for key, tensor in tensors.items()}, tmp_path / "w.pth")
        return str(tmp_path / "w.pth")

    return write


def test_a_pattern_chooses_names_of_every_source():
    assert find("resnet18")["names"] == ["resnet18"]
    names = find("*vit_*16*")["names"]
    assert "vit_b_16" in names
    assert "timm/vit_tiny_patch16_224" in names
    assert "resnet18" not in names


def test_without_a_pattern_the_names_of_timm_are_counted_only():
    found = find(None)
    assert {"tiny", "resnet50"} <= set(found["names"])
    assert not any(name.startswith("timm/") for name in found["names"])
    assert found["timm"] == len(from_timm.names())


def test_without_timm_there_are_the_others(monkeypatch):
    monkeypatch.setattr(from_timm, "find_spec", lambda _: None)
    assert find(None)["timm"] is None
    with pytest.raises(UsageError, match=r"timm: not installed; pip install 'macnn\[timm\]'"):
        find("timm/*")


def test_a_pattern_that_nothing_matches_is_refused():
    with pytest.raises(UsageError, match=r"no backbone matches 'nothing\*'"):
        find("nothing*")


def test_the_ends_of_blocks_are_shown_at_every_stride_without_weights():
    found = described("resnet18")
    assert found["tap"] == "layer4"
    assert (found["image_size"], found["interpolation"]) == (224, "bilinear")
    assert [(each["layer"], each["stride"]) for each in found["layers"]] == [
        *(("layer4", 32), ("layer4.0", 32)),
        *(("layer3", 16), ("layer3.0", 16)),
        *(("layer2", 8), ("layer2.0", 8)),
    ]
    assert [each["default"] for each in found["layers"]] == [True] + [False] * 5
    assert found["layers"][2]["channels"] == 256
    assert found["layers"][2]["cells"] == (14, 14)
    assert found["measured_on"] is None
    assert found["layers"][0]["positive"] is None


def test_activations_inside_blocks_are_shown():
    shown = named(described("timm/tf_efficientnet_lite0"))
    assert shown["blocks.6.0.bn2"]["channels"] == 1152
    assert len(shown) <= 20


def test_layers_shown_can_be_tapped_and_give_what_is_said():
    for name in (RESNET, CONVNEXT, "timm/test_vit"):
        found = described(name, data__image_size=160)
        for each in found["layers"][1::4]:
            backbone = create_backbone(name, weights="none", tap=each["layer"], split_signs=False)
            features = backbone(torch.rand(1, 3, 160, 160))
            assert features.shape[1:] == (each["channels"], *each["cells"]), each


def test_the_stride_is_that_between_cells_where_borders_are_dropped():
    first = described("squeezenet1_0", data__image_size=224)["layers"][0]
    assert (first["cells"], first["stride"]) == ((13, 13), 16)


def test_a_network_of_one_size_shares_the_image_evenly():
    assert described("vit_b_16")["layers"][0]["stride"] == 16
    with pytest.raises(UsageError, match="256 px do not fit the backbone"):
        described("vit_b_16", data__image_size=256)


def test_all_layers_are_those_that_give_maps_of_images_each_once():
    shown = named(described("timm/test_vit", everything=True))
    few = named(described("timm/test_vit"))
    assert few.keys() < shown.keys()
    ran = layers(library("timm/test_vit").build("timm/test_vit"), 160)
    assert shown.keys() <= {each.name for each in ran if each.shape}
    windowed = named(described("swin_t", everything=True))
    assert "features.5.0" in windowed
    assert not any(name.startswith("features.5.0.attn.") for name in windowed)


def test_without_taps_the_output_is_measured():
    (only,) = described("tiny")["layers"]
    assert (only["layer"], only["stride"], only["cells"]) == (None, 8, (14, 14))
    assert only["negative"] == 0
    assert 0 < only["positive"] < 1


def test_values_are_measured_on_noise_without_a_data_set(weights):
    file = weights(RESNET)
    found = described(RESNET, model__weights=file, data__image_size=64)
    assert found["measured_on"] == "noise"
    assert found["parts"] is None
    first = found["layers"][0]
    draw = torch.Generator().manual_seed(0)
    batches = [
        torch.randint(0, 256, (8, 3, 64, 64), dtype=torch.uint8, generator=draw) for _ in range(8)
    ]
    backbone = create_backbone(RESNET, weights=file).eval()
    with torch.no_grad():
        features = backbone(torch.cat(batches))
    assert first["positive"] == pytest.approx((features > 0).double().mean().item(), abs=1e-4)
    assert first["spread"] is None


def test_a_layer_is_measured_before_a_later_one_changes_it_in_place(weights):
    found = described(
        "resnet18", everything=True, model__weights=weights("resnet18"), data__image_size=64
    )
    assert named(found)["layer3.1.bn2"]["negative"] > 0.3
    assert named(found)["layer3"]["negative"] == 0


def test_channels_are_clustered_on_training_images(birds, monkeypatch):
    read = []
    epoch = Loader.epoch

    def noted(self, *arguments):
        read.extend(self.dataset.images.samples)
        return epoch(self, *arguments)

    monkeypatch.setattr(Loader, "epoch", noted)
    found = described("tiny", data__root=birds, model__parts=3)
    assert {sample.split for sample in read} == {"train"}
    assert (found["measured_on"], found["parts"]) == ("training images", 3)
    assert found["images"] == len(read)
    (only,) = found["layers"]
    assert 0 < only["spread"] < 1
    assert only["smallest"] >= 1
    assert only["split_signs"] is False


def peaks(columns):
    x = torch.tensor(columns, dtype=torch.int32)
    return Peaks(x, torch.zeros_like(x), torch.ones(x.shape))


def test_peaks_follow_a_mirrored_image_or_stay_where_they_are():
    places = [[0], [3], [6], [2]]
    mirrored = [[6 - x] for (x,) in places]
    assert follows(peaks(places), peaks(mirrored), 7) == 1
    assert follows(peaks([[5]] * 4), peaks([[5]] * 4), 7) == 0
    assert follows(peaks(places), peaks(mirrored)._replace(value=torch.zeros(4, 1)), 7) is None


def test_a_trained_layer_follows_mirrored_images(birds):
    (only,) = described("tiny", data__root=birds)["layers"]
    assert 0.3 < only["follows"] < 1


def test_signed_channels_are_split_before_they_are_clustered(birds, weights):
    flags = {"model__weights": weights(CONVNEXT), "data__root": birds, "data__image_size": 64}
    flags["model__parts"] = 2
    split = described(CONVNEXT, **flags)["layers"][0]
    assert split["negative"] > 0.1
    assert split["split_signs"] is True
    as_they_are = described(CONVNEXT, model__split_signs=False, **flags)["layers"][0]
    assert as_they_are["split_signs"] is False
    assert as_they_are["spread"] != split["spread"]


def test_channels_too_few_of_which_respond_have_no_groups(birds, weights):
    found = described(
        RESNET, model__weights=weights(RESNET, 0), data__root=birds, data__image_size=64
    )
    assert {(each["spread"], each["smallest"]) for each in found["layers"]} == {(None, None)}


def test_weights_of_another_network_are_refused(weights):
    with pytest.raises(CheckpointError, match="not weights of resnet18"):
        described("resnet18", model__weights=weights(RESNET))


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'resnet50'"):
        described("resnet5O")
