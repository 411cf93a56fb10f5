"""Two ways to train the same network: as macnn does it, and as it is usually written."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, Optimizer

from macnn.bench import eager
from macnn.config.training import TrainSettings
from macnn.data.loaders import Batch
from macnn.data.samples import ImageSet
from macnn.model import Network
from macnn.training.losses import classification_loss, grouping_objective
from macnn.training.optimisers import convolution_optimiser, grouping_optimiser
from macnn.training.train_step import TrainStep
from macnn_kernels import channel_peaks, peak_gram

Loss = Callable[[Batch], Tensor]


@dataclass(frozen=True)
class Implementation:
    """What the phases of training consist of.

    count: adds the peaks of features (B, C, H, W) to a Gram matrix. recognise: from features to
    logits, one (B, classes) per part, and maps (B, N, H, W). grouping_loss: L_cng of maps.
    classification_loss: L_cls of these logits and labels. take: one step of an optimiser.
    """

    count: Callable[[Tensor, Tensor], None]
    recognise: Callable[[Tensor], tuple[Tensor | list[Tensor], Tensor | None]]
    grouping_loss: Callable[[Tensor], Tensor]
    classification_loss: Callable[[Tensor | list[Tensor], Tensor], Tensor]
    take: Callable[[Optimizer, Batch, Loss], None]
    grouping_optimiser: Optimizer | None
    convolution_optimiser: Optimizer


def ours(
    network: Network, settings: TrainSettings, images: ImageSet, scale_loss: bool
) -> Implementation:
    """As macnn trains."""
    device = next(network.parameters()).device
    train_step = TrainStep(settings, images, device, scale_loss=scale_loss)

    def recognise(features: Tensor) -> tuple[Tensor, Tensor | None]:
        output = network.recognise(features)
        assert output.logits is not None
        return output.logits, output.attention

    def losses(logits: Tensor | list[Tensor], labels: Tensor) -> Tensor:
        assert isinstance(logits, Tensor)
        return classification_loss(logits, labels)

    def take(optimiser: Optimizer, batch: Batch, loss: Loss) -> None:
        train_step.step(1, optimiser, network, batch, loss)
        train_step.recent.clear()

    def count(features: Tensor, gram: Tensor) -> None:
        peak_gram(channel_peaks(features), out=gram)

    return Implementation(
        count,
        recognise,
        lambda maps: grouping_objective(maps, settings).total,
        losses,
        take,
        grouping_optimiser(network, settings) if network.grouping else None,
        convolution_optimiser(network, settings),
    )


def usual(network: Network, settings: TrainSettings) -> Implementation:
    """Loops over parts, optimisers as they come, the loss read at every step."""
    grouping, classifiers, spec = network.grouping, network.classifiers, network.spec
    assert isinstance(grouping, nn.Module)
    assert classifiers is not None

    def count(features: Tensor, gram: Tensor) -> None:
        x, y, _ = eager.channel_peaks(features.float())
        gram.add_(eager.peak_gram(x, y))

    def recognise(features: Tensor) -> tuple[list[Tensor], Tensor]:
        features = features.float()
        pooled = features.mean((2, 3)) * spec.feature_scale
        layers = (getattr(grouping, name) for name in ("w1", "b1", "w2", "b2"))
        weights = eager.channel_grouping(pooled, *layers)
        maps, parts = eager.part_attention(
            features, weights, scale=spec.response_scale, power=spec.power
        )
        if not spec.map_gradient and torch.is_grad_enabled():
            fixed = maps.detach()
            parts = torch.stack(
                [(features * fixed[:, n, None]).sum((2, 3)) for n in range(spec.parts)], 1
            )
        logits = [
            parts[:, n] * spec.feature_scale @ classifiers.weight[n].T + classifiers.bias[n]
            for n in range(spec.parts)
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

    trained: Iterable[nn.Parameter] = (
        *network.backbone.parameters(),
        *classifiers.parameters(),
    )
    return Implementation(
        count,
        recognise,
        grouping_loss,
        losses,
        take,
        Adam(grouping.parameters(), settings.grouping_lr),
        SGD(trained, settings.lr * settings.backbone_lr_scale, momentum=settings.momentum),
    )
