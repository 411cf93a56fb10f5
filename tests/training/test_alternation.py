from dataclasses import replace
from pathlib import Path

import pytest
import torch

from macnn import events
from macnn.config.training import TrainSettings
from macnn.data.layouts.cub import read_cub
from macnn.data.loaders import ImageDataset, Loader
from macnn.data.transforms import geometry
from macnn.errors import NonFiniteError
from macnn.files import temporary_path
from macnn.model import Network, NetworkSpec
from macnn.model.backbones import Backbone, BackboneSpec
from macnn.training.alternation import Alternation
from macnn.training.losses import grouping_objective


def alternation(birds, parts=2, listen=events.silent, after_step=lambda: None, **settings):
    torch.manual_seed(0)
    spec = NetworkSpec("tiny", None, 32, parts, classes=16)
    network = Network(spec, Backbone(BackboneSpec("tiny")))
    dataset = ImageDataset(read_cub(birds).split("train"), geometry(32, "squash", "flip"), seed=1)
    loader = Loader(dataset, 16, shuffle=True)
    still = replace(loader, dataset=replace(dataset, geometry=geometry(32, "squash")))
    chosen = {"rounds": 2, "epochs": 1, "grouping_steps": 3, "grouping_lr": 1e-2} | settings
    return Alternation(
        network,
        loader,
        still,
        TrainSettings(**chosen),
        listen,
        scratch=temporary_path(Path("nowhere")),
        mirrors=True,
        after_step=after_step,
        validate=lambda: None,
    )


def parameters(module):
    return [p.detach().clone() for p in module.parameters()]


def changed(before, after):
    return [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]


def test_the_grouping_phase_trains_the_grouping_layers_only(birds):
    training = alternation(birds)
    network = training.network
    before = [parameters(m) for m in (network.grouping, network.backbone, network.classifiers)]
    training._grouping_phase()
    after = [parameters(m) for m in (network.grouping, network.backbone, network.classifiers)]
    assert all(changed(before[0], after[0]))
    assert not any(changed(before[1], after[1]) + changed(before[2], after[2]))


def test_the_convolution_phase_leaves_the_grouping_layers_alone(birds):
    training = alternation(birds)
    network = training.network
    before = [parameters(m) for m in (network.grouping, network.backbone, network.classifiers)]
    training._convolution_phase()
    after = [parameters(m) for m in (network.grouping, network.backbone, network.classifiers)]
    assert not any(changed(before[0], after[0]))
    assert all(changed(before[1], after[1]) + changed(before[2], after[2]))


def test_the_convolutions_follow_weighted_l_cng_too(birds):
    losses, gradients = [], []
    for weight in (0, 2):
        training = alternation(birds, conv_grouping_weight=weight)
        network = training.network.eval()
        (batch,) = training.still.batches([[(0, i) for i in range(16)]])
        losses.append(training._loss(network, batch))
        gradients.append(torch.autograd.grad(losses[-1], list(network.backbone.parameters())))
    grouping = grouping_objective(network(batch.images).attention, training.settings).total
    assert (losses[1] - losses[0]).item() == pytest.approx(2 * grouping.item(), rel=1e-5)
    assert all(changed(*gradients))


def test_the_baseline_has_convolution_phases_only(birds):
    heard = []
    training = alternation(birds, parts=0, listen=heard.append)
    training.run()
    phases = [event.phase for event in heard if isinstance(event, events.Metrics)]
    assert phases == ["convolution", "convolution"]
    assert training.position.round == 2


def test_the_same_seed_gives_the_same_weights(birds):
    weights = []
    for _ in range(2):
        training = alternation(birds, rounds=1)
        training.run()
        weights.append(parameters(training.network))
    assert not any(changed(*weights))


def test_it_stops_when_neither_loss_changes_any_more(birds):
    training = alternation(birds, rounds=9, tolerance=0.05)
    training.position.round, training.position.phase = 2, "grouping"
    training.position.losses = [1.0, 2.0, 1.04, 1.99]
    assert training.finished
    training.position.losses = [1.0, 2.0, 1.04, 1.5]
    assert not training.finished


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(birds):
    training = alternation(birds)
    with torch.no_grad():
        training.network.classifiers.bias.fill_(torch.nan)
    before = parameters(training.network.backbone)
    with pytest.raises(NonFiniteError, match=r"not finite at step 1, on .*\.(jpg|png)"):
        training._convolution_phase()
    assert not any(changed(before, parameters(training.network.backbone)))
