import pytest
import torch
from torch.testing import assert_close

from macnn.model import Network, NetworkSpec
from macnn.model.backbones import Backbone, BackboneSpec


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
