import pytest
import torch

from macnn.commands.bench.implementations import ours, usual
from macnn.config.training import TrainSettings
from macnn.model import MACNN, create_backbone
from macnn.training.train_step import TrainStep


@pytest.mark.parametrize("competition", [0.0, 0.5])
@pytest.mark.parametrize("map_gradient", [False, True])
def test_both_implementations_compute_the_same(map_gradient, competition):
    torch.manual_seed(0)
    model = MACNN(
        create_backbone("tiny"), parts=3, classes=5, image_size=64, power=2.0,
        map_gradient=map_gradient, competition=competition,
    )  # fmt: skip
    settings = TrainSettings()
    step = TrainStep(
        torch.device("cpu"), grad_accum_steps=1, clip_grad_norm=0, scale_loss=False, describe=str
    )
    one = ours(model, settings, step)
    other = usual(model, settings)
    features = torch.rand(2, *model.map_shape, requires_grad=True)
    labels = torch.tensor([1, 4])
    found = []
    for each in (one, other):
        gram = torch.zeros(model.map_shape[0], model.map_shape[0], dtype=torch.int64)
        each.count(features.detach(), gram)
        logits, maps = each.classify(features)
        loss = each.classification_loss(logits, labels)
        (gradient,) = torch.autograd.grad(loss, features, retain_graph=True)
        found.append((gram, maps, loss, gradient, each.grouping_loss(maps)))
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)
