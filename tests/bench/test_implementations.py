import pytest
import torch

from macnn.bench.implementations import ours, usual
from macnn.config.training import TrainSettings
from macnn.data.samples import ImageSet
from macnn.model import Network, NetworkSpec
from macnn.model.backbones import Backbone, BackboneSpec


@pytest.mark.parametrize("map_gradient", [False, True])
def test_both_ways_compute_the_same(tmp_path, map_gradient):
    torch.manual_seed(0)
    spec = NetworkSpec(
        "tiny", None, 64, 3, classes=5, part_features="plain", power=2.0, map_gradient=map_gradient
    )
    network = Network(spec, Backbone(BackboneSpec("tiny")))
    settings = TrainSettings()
    one = ours(network, settings, ImageSet("none", tmp_path, (), ()), False)
    other = usual(network, settings)
    features = torch.rand(2, *network.map_shape, requires_grad=True)
    labels = torch.tensor([1, 4])
    found = []
    for way in (one, other):
        gram = torch.zeros(network.map_shape[0], network.map_shape[0], dtype=torch.int64)
        way.count(features.detach(), gram)
        logits, maps = way.recognise(features)
        loss = way.classification_loss(logits, labels)
        (gradient,) = torch.autograd.grad(loss, features, retain_graph=True)
        found.append((gram, maps, loss, gradient, way.grouping_loss(maps)))
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)
