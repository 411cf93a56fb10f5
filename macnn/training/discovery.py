"""Part pre-training: cluster the channels, fit the grouping layers to them.

See docs/paper.md, Channel clustering to Channel-grouping layers.

The training images are streamed once. What is kept of them does not grow with their number: the
C x C Gram matrix, counts per channel, and the pooled features of about `FIT_IMAGES` images.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from macnn import bounds, distributed
from macnn.config.training import PretrainSettings
from macnn.data.loaders import Loader
from macnn.errors import NonFiniteError
from macnn.events import Listener, Progress
from macnn.model import Network
from macnn.reading import Document
from macnn.training.clusters import ChannelGroups, group_channels
from macnn.training.saved import LARGEST, check_tensors, fitting, rows, shaped, typed
from macnn_kernels import channel_peaks, peak_gram

FIT_IMAGES = 4096  # pooled features kept for fitting
SCALE_IMAGES = 256  # images the response scale is measured on
LARGEST_FEATURE = 1e15  # that layers can still be fitted to, in units of the feature scale
Count = Annotated[int, Field(ge=0, le=bounds.COUNT)]


class Seen(Document):
    """How far a statistics has come."""

    images: Count
    batches: Count


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
class ChannelStatistics:
    """What one pass over the training images accumulates in this process."""

    gram: Tensor  # (C, C) int64
    dead: Tensor  # (C,) int64, images in which the channel is dead
    square: Tensor  # () float64, sum of squared features over positions, channels and images
    pooled: Tensor  # (n, C) of the first images
    samples: Tensor  # (n,) int64, which images they are
    images: int = 0  # over all processes
    batches: int = 0

    @classmethod
    def begin(cls, network: Network) -> "ChannelStatistics":
        """Nothing seen yet."""
        channels = network.map_shape[0]
        device = next(network.parameters()).device
        return cls(
            gram=torch.zeros(channels, channels, dtype=torch.int64, device=device),
            dead=torch.zeros(channels, dtype=torch.int64, device=device),
            square=torch.zeros((), dtype=torch.float64, device=device),
            pooled=torch.zeros(0, channels),
            samples=torch.zeros(0, dtype=torch.int64),
        )

    def state(self) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Tensors and facts to go on from. Every process calls this at the same batch."""
        return {
            "gram": distributed.all_reduce(self.gram),
            "dead": distributed.all_reduce(self.dead),
            "squares": torch.cat(distributed.all_gather(self.square[None])),
            "pooled": torch.cat(distributed.all_gather(self.pooled)),
            "samples": torch.cat(distributed.all_gather(self.samples)),
        }, {"images": self.images, "batches": self.batches}

    def load(self, tensors: dict[str, Tensor], facts: dict[str, Any], origin: object) -> None:
        """Go on from a `state`: the first process takes over all that adds up exactly.

        Args:
            tensors: of the state.
            facts: of the state.
            origin: where it is from, for messages.

        Raises:
            CheckpointError: it is no state of such a pass; nothing has been changed then.
        """
        with fitting(origin):
            seen = typed(Seen, facts, "progress")
            self._check(tensors, seen)
        self.images, self.batches = seen.images, seen.batches
        first, squares = distributed.rank() == 0, tensors["squares"]
        if len(squares) == distributed.world_size():
            self.square.copy_(squares[distributed.rank()])
        elif first:
            self.square.copy_(squares.sum())
        if first:
            self.gram.copy_(tensors["gram"])
            self.dead.copy_(tensors["dead"])
            self.pooled, self.samples = tensors["pooled"], tensors["samples"]

    def _check(self, tensors: dict[str, Tensor], seen: Seen) -> None:
        """Check that tensors can be what this network's features of so many images add up to.

        Raises:
            ValueError: they cannot.
        """
        kept = len(tensors["pooled"]) if "pooled" in tensors and tensors["pooled"].ndim else 0
        expected = {
            "gram": self.gram,
            "dead": self.dead,
            "squares": shaped(rows(tensors, "squares"), dtype=torch.float64),
            "pooled": shaped(kept, len(self.dead)),
            "samples": shaped(kept, dtype=torch.int64),
        }
        check_tensors(expected, tensors)
        gram, dead, squares = tensors["gram"], tensors["dead"], tensors["squares"]
        own = gram.diagonal()
        distances = own[:, None] + own - 2 * gram
        if (
            not seen.batches <= seen.images <= seen.batches * bounds.COUNT
            or not min(seen.images, FIT_IMAGES) <= kept <= seen.images
            or not ((dead >= 0) & (dead <= seen.images)).all()
            or not ((squares >= 0) & (squares <= LARGEST)).all()
            or not ((gram >= 0) & (gram <= 2**60) & (gram == gram.T) & (distances >= 0)).all()
        ):
            raise ValueError(f"it is not of {seen.images:,} images")


@torch.no_grad()
def collect_statistics(
    network: Network,
    loader: Loader,
    statistics: ChannelStatistics,
    after_batch: Callable[[], None],
    listen: Listener,
) -> None:
    """Read the images that `statistics` has not seen yet; `after_batch` may save it.

    Raises:
        Stopped: the run was asked to stop; `statistics` can be saved.
    """
    network.eval()
    for batch in loader.epoch(offset=statistics.batches):
        features = network.backbone(batch.to(statistics.gram.device).images)
        peaks = channel_peaks(features)
        peak_gram(peaks, out=statistics.gram)
        statistics.dead += (peaks.value <= 0).sum(dim=0)
        statistics.square += features.float().square().sum(dtype=torch.float64)
        if statistics.images < FIT_IMAGES:
            means = features.mean(dim=(2, 3), dtype=torch.float32).cpu()
            statistics.pooled = torch.cat((statistics.pooled, means))
            statistics.samples = torch.cat((statistics.samples, batch.samples))
        statistics.images += batch.total
        statistics.batches += 1
        listen(Progress("Reading channel peaks", statistics.batches, len(loader)))
        after_batch()


def form_parts(
    network: Network,
    loader: Loader,
    statistics: ChannelStatistics,
    settings: PretrainSettings,
    *,
    gain: float,
    seed: int,
    listen: Listener,
) -> PartDiscovery:
    """Form the parts and set up the grouping layers of `network` for them, in place.

    Args:
        network: the network; its backbone is left as it is.
        loader: the training images, shuffled and not augmented.
        statistics: of all of them.
        settings: restarts and fit.
        gain: standard deviation the response in front of the squashing is scaled to.
        seed: seed of the clustering and the fit.
        listen: hears of the progress.

    Raises:
        NonFiniteError: the features, or what they add up to, leave the range of numbers.
    """
    tensors, _ = statistics.state()
    dead_share = tensors["dead"].double() / statistics.images
    groups = group_channels(tensors["gram"], dead_share, network.spec.parts, settings, seed)
    channels, height, width = network.map_shape
    mean_square = tensors["squares"].sum() / (statistics.images * channels * height * width)
    feature_scale = 1 / mean_square.sqrt().clamp_min(1e-12).item()
    network.spec = replace(network.spec, feature_scale=feature_scale)

    indicators = F.one_hot(groups.labels + 1, network.spec.parts + 1)[:, 1:].T.float()  # (N, C)
    # In the order of the data set, whichever process read them.
    pooled = tensors["pooled"][tensors["samples"].argsort()].to(indicators.device)
    if not (pooled.abs() * feature_scale <= LARGEST_FEATURE).all() or not feature_scale > 0:
        raise _not_finite()
    weights = _fit(network, pooled, indicators, settings, seed, listen)
    response_scale = gain / _response_std(network, loader)
    if not 0 < response_scale < math.inf:
        raise _not_finite()
    network.spec = replace(network.spec, response_scale=response_scale)
    return PartDiscovery(
        images=statistics.images,
        groups=groups,
        dead_share=dead_share,
        fit_error=(weights - indicators).abs().mean().item(),
        fit_agreement=((weights > 0.5) == (indicators > 0.5)).double().mean().item(),
    )


def _not_finite() -> NonFiniteError:
    return NonFiniteError("features are not finite", hint="use other --weights")


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
    optimiser = torch.optim.Adam(grouping.parameters(), settings.fit_lr)
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
    summed, images = torch.zeros((), dtype=torch.float64, device=device), 0
    for batch in loader.epoch():
        features = network.backbone(batch.to(device).images).float()
        response = torch.einsum("bnc,bchw->bnhw", network.channel_weights(features), features)
        summed += response.flatten(2).std(dim=2).mean(dim=1).sum(dtype=torch.float64)
        images += batch.total
        if images >= SCALE_IMAGES:
            break
    return max(distributed.all_reduce(summed).item() / images, 1e-12)
