"""Part pre-training (PAPER.md 1 and 2): cluster the channels, fit the grouping layers to them.

The training images are streamed once. What is kept of them does not grow with their number: the
C x C Gram matrix, counts per channel, and the pooled features of at most `FIT_IMAGES` images.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from macnn.config.settings import PretrainSettings
from macnn.data.loaders import Loader
from macnn.events import Listener, Progress, track
from macnn.model import Network
from macnn.training.clusters import ChannelGroups, group_channels
from macnn_kernels import channel_peaks, peak_gram

FIT_IMAGES = 4096  # pooled features kept for fitting
SCALE_IMAGES = 256  # images the response scale is measured on


@dataclass(frozen=True)
class PartDiscovery:
    """What part pre-training found.

    images: how many were streamed. groups: the channels of each part. dead_share: (C,) share of
    images in which a channel had no positive response. fit_error: mean absolute difference of
    channel weights and indicators. fit_agreement: share of weights on the right side of 1/2.
    """

    images: int
    groups: ChannelGroups
    dead_share: Tensor
    fit_error: float
    fit_agreement: float


@dataclass
class _Survey:
    """What one pass over the training images accumulates."""

    images: int
    gram: Tensor  # (C, C) int64
    dead: Tensor  # (C,) int64, images in which the channel is dead
    square: Tensor  # () float64, sum of squared features over positions, channels and images
    pooled: Tensor  # (n, C), n <= FIT_IMAGES


def pretrain_parts(
    network: Network,
    loader: Loader,
    settings: PretrainSettings,
    *,
    gain: float,
    seed: int,
    listen: Listener,
) -> PartDiscovery:
    """Find the parts and set up the grouping layers of `network` for them, in place.

    Args:
        network: the network; its backbone is left as it is.
        loader: the training images, shuffled and not augmented.
        settings: restarts and fit.
        gain: standard deviation the response in front of the squashing is scaled to.
        seed: seed of the clustering and the fit.
        listen: hears of the progress.
    """
    network.eval()
    survey = _survey(network, loader, listen)
    dead_share = survey.dead.double() / survey.images
    groups = group_channels(survey.gram, dead_share, network.spec.parts, settings, seed)
    _, height, width = network.map_shape
    mean_square = survey.square / (survey.images * survey.dead.numel() * height * width)
    feature_scale = 1 / mean_square.sqrt().clamp_min(1e-12).item()
    network.spec = replace(network.spec, feature_scale=feature_scale)

    indicators = F.one_hot(groups.labels + 1, network.spec.parts + 1)[:, 1:].T.float()  # (N, C)
    weights = _fit(network, survey.pooled, indicators, settings, seed, listen)
    network.spec = replace(network.spec, response_scale=gain / _response_std(network, loader))
    return PartDiscovery(
        images=survey.images,
        groups=groups,
        dead_share=dead_share,
        fit_error=(weights - indicators).abs().mean().item(),
        fit_agreement=((weights > 0.5) == (indicators > 0.5)).double().mean().item(),
    )


@torch.no_grad()
def _survey(network: Network, loader: Loader, listen: Listener) -> _Survey:
    channels = network.map_shape[0]
    device = next(network.parameters()).device
    gram = torch.zeros(channels, channels, dtype=torch.int64, device=device)
    dead = torch.zeros(channels, dtype=torch.int64, device=device)
    square = torch.zeros((), dtype=torch.float64, device=device)
    pooled: list[Tensor] = []
    images = 0
    for batch in track(loader.epoch(), "Reading channel peaks", len(loader), listen):
        features = network.backbone(batch.to(device).images)
        peaks = channel_peaks(features)
        peak_gram(peaks, out=gram)
        dead += (peaks.value <= 0).sum(dim=0)
        square += features.float().square().sum(dtype=torch.float64)
        if images < FIT_IMAGES:
            pooled.append(features.mean(dim=(2, 3), dtype=torch.float32))
        images += len(batch.labels)
    return _Survey(images, gram, dead, square, torch.cat(pooled)[:FIT_IMAGES])


def _fit(
    network: Network,
    pooled: Tensor,
    indicators: Tensor,
    settings: PretrainSettings,
    seed: int,
    listen: Listener,
) -> Tensor:
    """Fit the grouping layers to the indicators; returns the weights (n, N, C) they then give."""
    grouping = network.grouping
    assert grouping is not None, "part pre-training needs parts"
    inputs = pooled * network.spec.feature_scale
    optimiser = torch.optim.Adam(grouping.parameters(), settings.fit_rate)
    draw = torch.Generator().manual_seed(seed)
    for step in range(settings.fit_steps):
        chosen = torch.randint(len(inputs), (min(64, len(inputs)),), generator=draw)
        weights = grouping(inputs[chosen.to(inputs.device)])
        loss = F.binary_cross_entropy(weights, indicators.expand_as(weights))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 20 == 19 or step + 1 == settings.fit_steps:
            figures = {"loss": loss.item()}
            listen(Progress("Fitting grouping layers", step + 1, settings.fit_steps, figures))
    with torch.no_grad():
        fitted: Tensor = grouping(inputs)
    return fitted


@torch.no_grad()
def _response_std(network: Network, loader: Loader) -> float:
    """Standard deviation over positions of sum_c d_c F_c, averaged over parts and images."""
    device = next(network.parameters()).device
    stds: list[Tensor] = []
    for batch in loader.epoch():
        features = network.backbone(batch.to(device).images).float()
        response = torch.einsum("bnc,bchw->bnhw", network.channel_weights(features), features)
        stds.append(response.flatten(2).std(dim=2).mean(dim=1))
        if len(stds) * loader.batch_size >= SCALE_IMAGES:
            break
    return max(torch.cat(stds).mean().item(), 1e-12)
