import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from macnn.errors import CheckpointError
from macnn.model import Network, NetworkSpec, PartCNNSpec
from macnn.model.backbones import Backbone, BackboneSpec
from macnn.reading import parse_json


def network(parts=3, classes=5, **more):
    torch.manual_seed(0)
    spec = NetworkSpec("tiny", None, 64, parts, classes, **more)
    return Network(spec, Backbone(BackboneSpec("tiny"))).eval()


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8, generator=generator)


def test_every_part_classifies_and_shows_where_it_looks(images):
    logits, attention, _ = network()(images)
    assert logits.shape == (2, 3, 5)
    assert attention.shape == (2, 3, 8, 8)
    assert_close(attention.sum(dim=(2, 3)), torch.ones(2, 3))


def test_a_part_feature_is_the_attention_weighted_mean_of_the_features(images):
    model = network(part_features="plain", feature_scale=0.5)
    logits, attention, _ = model(images)
    features = model.backbone(images)
    parts = torch.einsum("bnhw,bchw->bnc", attention, features) * 0.5
    expected = torch.einsum("bnc,nkc->bnk", parts, model.classifiers.weight)
    assert_close(logits, expected + model.classifiers.bias)


def test_without_parts_it_pools_globally(images):
    model = network(parts=0)
    logits, attention, _ = model(images)
    pooled = model.backbone(images).mean(dim=(2, 3))
    pooled = pooled / pooled.square().mean(dim=1, keepdim=True).sqrt()
    expected = pooled @ model.classifiers.weight[0].T + model.classifiers.bias[0]
    assert attention is None
    assert_close(logits[:, 0], expected, rtol=1e-3, atol=1e-3)


def test_before_there_are_classifiers_it_only_attends(images):
    logits, attention, _ = network(classes=0)(images)
    assert logits is None
    assert attention.shape[1] == 3


def test_normalised_features_make_logits_independent_of_the_feature_scale(images):
    one, other = (network(feature_scale=scale, part_features="normalised") for scale in (1e3, 1e5))
    assert_close(one(images).logits, other(images).logits, rtol=1e-3, atol=1e-3)


def test_gradients_reach_convolutions_grouping_layers_and_classifiers(images):
    model = network()
    model(images).logits.square().sum().backward()
    assert all(
        parameter.grad is not None and parameter.grad.abs().sum() > 0
        for name, parameter in model.named_parameters()
        if "body.0" in name or not name.startswith("backbone")
    )


SPEC = NetworkSpec("tiny", None, 64, 2, classes=5, hidden=8, power=8.0)
PART_CNN = PartCNNSpec(
    **asdict(SPEC) | {"image_size": 128},
    locator_size=64,
    stream_size=32,
    part_share=0.25,
    object_threshold=0.5,
    shared=False,
)
NEVER = ({}, [], "", "x" * 201, -1, 2**200, 1e300, float("nan"), float("inf"))


def read(content, form):
    return parse_json(json.dumps(content).encode(), Path("spec"), form, CheckpointError)


@pytest.mark.parametrize("spec", [SPEC, PART_CNN], ids=["network", "part cnn"])
def test_a_description_is_read_back(spec):
    assert read(asdict(spec), type(spec)) == spec
    assert read(asdict(spec), NetworkSpec | PartCNNSpec) == spec


@pytest.mark.parametrize("spec", [SPEC, PART_CNN], ids=["network", "part cnn"])
def test_no_field_of_a_description_holds_anything_unbearable(spec):
    for name in asdict(spec):
        for wrong in NEVER:
            with pytest.raises(CheckpointError, match=r"^spec: damaged \("):
                read(asdict(spec) | {name: wrong}, type(spec))
    for content in (asdict(spec) | {"further": 1}, {}, [], None, 1):
        with pytest.raises(CheckpointError, match=r"^spec: damaged \("):
            read(content, type(spec))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 100}, "100 px are no multiple of 64"),
        ({"stream_size": 2048}, "4 streams of 2048 px see 16,777,216 pixels, more than 4,194,304"),
        ({"parts": 0}, "no parts, or no classes"),
        ({"classes": 0}, "no parts, or no classes"),
    ],
)
def test_fields_of_a_part_cnn_that_do_not_go_together_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        PartCNNSpec(**asdict(PART_CNN) | change)
    with pytest.raises(CheckpointError, match=message):
        read(asdict(PART_CNN) | change, PartCNNSpec)
