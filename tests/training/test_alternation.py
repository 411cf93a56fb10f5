from dataclasses import replace

import pytest
import torch

from macnn import events
from macnn.config.training import TrainSettings
from macnn.data.layouts.cub import read_cub
from macnn.data.loaders import ImageDataset, Loader
from macnn.data.transforms import geometry
from macnn.errors import NonFiniteError
from macnn.model import MACNN, PooledClassifier, create_backbone
from macnn.training.alternation import Alternation
from macnn.training.epochs import PooledTraining
from macnn.training.grouping_batches import GroupingBatches
from macnn.training.losses import GroupingLoss
from macnn.training.trainer import PhaseEnd, RoundEnd, Step


def loaders(birds):
    dataset = ImageDataset(read_cub(birds).split("train"), geometry(32, "squash", "flip"), seed=1)
    training = Loader(dataset, 16, shuffle=True)
    return training, replace(training, dataset=replace(dataset, geometry=geometry(32, "squash")))


def settings(**changes):
    chosen = {"rounds": 2, "epochs": 1, "grouping_steps": 3, "grouping_lr": 1e-2}
    return TrainSettings(**chosen | changes)


def alternation(birds, **changes):
    torch.manual_seed(0)
    model = MACNN(create_backbone("tiny"), 2, 16, image_size=32)
    training, unaugmented = loaders(birds)
    grouping = GroupingBatches(unaugmented, mirror=True, device=torch.device("cpu"))
    chosen = settings(**changes)
    return Alternation(model, training, grouping, chosen, events.silent, unaugmented=unaugmented)


def parameters(module):
    return [p.detach().clone() for p in module.parameters()]


def changed(before, after):
    return [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]


def until(training, phase):
    """Train to the end of a phase."""
    for reached in training.steps():
        if isinstance(reached, PhaseEnd) and reached.metrics.phase == phase:
            return


def trained_by(birds, *phases):
    """Which parameters of grouping layers, backbone and classifiers the last phase changes."""
    training = alternation(birds)
    model = training.model
    for phase in phases:
        before = [parameters(m) for m in (model.grouping, model.backbone, model.classifiers)]
        until(training, phase)
    after = [parameters(m) for m in (model.grouping, model.backbone, model.classifiers)]
    return [changed(*pair) for pair in zip(before, after, strict=True)]


def test_the_grouping_phase_trains_the_grouping_layers_only(birds):
    grouping, backbone, classifiers = trained_by(birds, "grouping")
    assert all(grouping)
    assert not any(backbone + classifiers)


def test_the_convolution_phase_leaves_the_grouping_layers_alone(birds):
    grouping, backbone, classifiers = trained_by(birds, "grouping", "convolution")
    assert not any(grouping)
    assert all(backbone + classifiers)


def test_training_yields_every_step_the_end_of_every_phase_and_of_every_round(birds):
    training = alternation(birds)
    reached = list(training.steps())
    per_epoch = len(training.training)
    numbers = [each.number for each in reached if isinstance(each, Step)]
    assert numbers == list(range(1, 2 * (3 + per_epoch) + 1))
    ends = [each for each in reached if not isinstance(each, Step)]
    assert [e.metrics.phase for e in ends if isinstance(e, PhaseEnd)] == [
        "grouping",
        "convolution",
    ] * 2
    assert [e.number for e in ends if isinstance(e, RoundEnd)] == [1, 2]
    assert isinstance(reached[-1], RoundEnd)
    assert training.finished


def test_the_backbone_follows_weighted_l_cng_too(birds):
    metrics = {}
    for weight in (0.0, 2.0):
        training = alternation(birds, conv_grouping_weight=weight, grouping_steps=0, rounds=1)
        for reached in training.steps():
            if isinstance(reached, PhaseEnd):
                metrics[weight] = reached.metrics.values, parameters(training.model.backbone)
    assert "cng" not in metrics[0.0][0]
    assert metrics[2.0][0]["cng"] > 0
    assert all(changed(metrics[0.0][1], metrics[2.0][1]))


def test_the_reported_l_cng_is_that_of_the_maps(birds):
    training = alternation(birds, rounds=1, anchor_weight=0, grouping_lr=1e-30)
    torch.manual_seed(0)
    model = training.model
    drawn = list(training.grouping.batches(0, 3))
    with torch.no_grad():
        maps = [model.eval()(batch.images).attention for batch in drawn]
    until(training, "grouping")
    expected = GroupingLoss(0.02, 2.0)(torch.cat(maps)).item()
    assert training.position.losses == [pytest.approx(expected, rel=1e-4)]


def test_the_baseline_has_convolution_phases_only(birds):
    model = PooledClassifier(create_backbone("tiny"), 16, image_size=32)
    training, _ = loaders(birds)
    trainer = PooledTraining(model, training, settings(), events.silent, rounds=2, epochs=1)
    ends = [each for each in trainer.steps() if isinstance(each, PhaseEnd)]
    assert [end.metrics.phase for end in ends] == ["convolution", "convolution"]
    assert trainer.position.round == 2


def test_the_same_seed_gives_the_same_weights(birds):
    weights = []
    for _ in range(2):
        training = alternation(birds, rounds=1)
        list(training.steps())
        weights.append(parameters(training.model))
    assert not any(changed(*weights))


def test_it_stops_when_neither_loss_changes_any_more(birds):
    training = alternation(birds, rounds=9, tolerance=0.05)
    training.position.round, training.position.phase = 2, "grouping"
    training.position.losses = [1.0, 2.0, 1.04, 1.99]
    assert training.finished
    training.position.losses = [1.0, 2.0, 1.04, 1.5]
    assert not training.finished


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(birds):
    training = alternation(birds, grouping_steps=0)
    with torch.no_grad():
        training.model.classifiers.bias.fill_(torch.nan)
    before = parameters(training.model.backbone)
    with pytest.raises(NonFiniteError, match=r"not finite at step 1, on .*\.(jpg|png)"):
        list(training.steps())
    assert not any(changed(before, parameters(training.model.backbone)))
