"""Two ways to train the same model: as macnn does it, and as it is usually written.

`macnn bench train` measures them side by side: a figure is worth what it is compared with.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, Optimizer

from macnn.commands.bench import eager
from macnn.config.training import TrainSettings
from macnn.data.loaders import Batch
from macnn.model import MACNN
from macnn.model.backbones import Features, both
from macnn.training.losses import GroupingLoss, part_classification_loss
from macnn.training.optimisers import feature_optimiser, grouping_optimiser
from macnn.training.train_step import TrainStep
from macnn_kernels import channel_peaks, peak_gram

Loss = Callable[[Batch], Tensor]


@dataclass(frozen=True)
class Implementation:
    """What the phases of training consist of.

    count: adds the peaks of features (B, C, H, W) to a Gram matrix. classify: from features to
    logits, one (B, classes) per part, and maps (B, N, H, W). grouping_loss: L_cng of maps.
    classification_loss: L_cls of these logits and labels. take: one step of an optimiser.
    """

    count: Callable[[Features, Tensor], None]
    classify: Callable[[Features], tuple[Tensor | list[Tensor], Tensor]]
    grouping_loss: Callable[[Tensor], Tensor]
    classification_loss: Callable[[Tensor | list[Tensor], Tensor], Tensor]
    take: Callable[[Optimizer, Batch, Loss], None]
    grouping_optimiser: Optimizer
    feature_optimiser: Optimizer


def ours(model: MACNN, settings: TrainSettings, train_step: TrainStep) -> Implementation:
    """As macnn trains."""

    def classify(features: Features) -> tuple[Tensor, Tensor]:
        output = model.classify(features)
        return output.classifier_logits, output.attention

    def losses(logits: Tensor | list[Tensor], labels: Tensor) -> Tensor:
        assert isinstance(logits, Tensor)
        return part_classification_loss(logits, labels)

    def take(optimiser: Optimizer, batch: Batch, loss: Loss) -> None:
        step_with(train_step, model, optimiser, batch, loss)

    def count(features: Features, gram: Tensor) -> None:
        peak_gram(channel_peaks(both(features)[0]), out=gram)

    return Implementation(
        count,
        classify,
        GroupingLoss(settings.margin, settings.diversity_weight),
        losses,
        take,
        grouping_optimiser(model, settings.grouping_lr),
        feature_optimiser(model, settings.optimizer, settings.rates),
    )


def step_with(
    train_step: TrainStep, model: nn.Module, optimiser: Optimizer, batch: Batch, loss: Loss
) -> None:
    """One step as macnn takes it."""
    optimiser.zero_grad()
    for part in train_step.micro_batches(1, batch, model):
        train_step.backward(loss(part), part)
    train_step.update(optimiser)
    train_step.recent.clear()


def usual(model: MACNN, settings: TrainSettings) -> Implementation:
    """Loops over parts, optimisers as they come, the loss read at every step."""
    grouping, classifiers, parts = model.grouping, model.classifiers, model.parts
    feature_scale = model.feature_scale.number

    def count(features: Features, gram: Tensor) -> None:
        x, y, _ = eager.channel_peaks(both(features)[0].float())
        gram.add_(eager.peak_gram(x, y))

    def classify(features: Features) -> tuple[list[Tensor], Tensor]:
        seen, described = (each.float() for each in both(features))
        pooled = seen.mean((2, 3)) * model.map_scale.number
        layers = (getattr(grouping, name) for name in ("w1", "b1", "w2", "b2"))
        weights = eager.channel_grouping(pooled, *layers)
        maps, found = eager.part_attention(
            seen,
            weights,
            scale=model.response_scale.number,
            power=model.power,
            competition=model.bids() if model.competition else None,
        )
        fixed = maps if model.map_gradient or not torch.is_grad_enabled() else maps.detach()
        if isinstance(features, tuple):
            found = model.average(described, fixed)
        elif fixed is not maps:
            found = torch.stack(
                [(described * fixed[:, n, None]).sum((2, 3)) for n in range(parts)], 1
            )
        inputs = [found[:, n] * feature_scale for n in range(parts)]
        if model.whole_image:
            inputs.append(F.rms_norm(described.mean((2, 3)) * feature_scale, found.shape[-1:]))
        logits = [
            each @ classifiers.weight[n].T + classifiers.bias[n] for n, each in enumerate(inputs)
        ]
        return logits, maps

    def grouping_loss(maps: Tensor) -> Tensor:
        distance, diversity = eager.grouping_loss(maps, margin=settings.margin)
        side = max(maps.shape[-2:])
        return (distance.sum(1) / side**2 + settings.diversity_weight * diversity.sum(1)).mean()

    def losses(logits: Tensor | list[Tensor], labels: Tensor) -> Tensor:
        return torch.stack([F.cross_entropy(each, labels) for each in logits]).sum()

    def take(optimiser: Optimizer, batch: Batch, loss_of: Loss) -> None:
        loss = loss_of(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        loss.item()

    trained = [*model.backbone.parameters(), *classifiers.parameters()]
    return Implementation(
        count,
        classify,
        grouping_loss,
        losses,
        take,
        Adam(grouping.parameters(), settings.grouping_lr),
        SGD(
            trained,
            settings.rates.lr * settings.rates.backbone_lr_scale,
            momentum=settings.momentum,
        ),
    )
