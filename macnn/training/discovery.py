"""Part pre-training: cluster the channels, fit the grouping layers to them.

See docs/paper.md, Channel clustering to Channel-grouping layers.

The training images are streamed once. What is kept of them does not grow with their number: the
C x C Gram matrix, counts per channel, and the pooled features of about `FIT_IMAGES` images.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from macnn import bounds, distributed
from macnn.data.loaders import Batch
from macnn.errors import NonFiniteError, UsageError
from macnn.events import Listener, Notice, Progress
from macnn.model import PartModel
from macnn.model.backbones import Features, both
from macnn.model.receptive_field import gaze
from macnn.reading import Document
from macnn.training.clusters import ChannelGroups, group_channels, weakness
from macnn.training.saved import LARGEST, check_tensors, rows, shaped, typed
from macnn_kernels import channel_peaks, peak_gram

FIT_IMAGES = 4096  # pooled features kept for fitting
SCALE_IMAGES = 256  # images the response scale is measured on
GAZE_IMAGES = 32  # images that say where cells look
MATRICES = 4  # as large as the Gram matrix, that clustering holds at once
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
    square: Tensor  # (2,) float64, of what maps are computed from and of the features: sum over
    # positions, channels and images of their squares
    pooled: Tensor  # (n, C) of the first images
    samples: Tensor  # (n,) int64, which images they are
    images: int = 0  # over all processes
    batches: int = 0

    @classmethod
    def begin(cls, model: PartModel) -> "ChannelStatistics":
        """Nothing seen yet.

        Raises:
            UsageError: clustering so many channels takes more memory than there is.
        """
        channels = model.map_shape[0]
        device = next(model.parameters()).device
        try:  # now, not after the pass: the Gram matrix, and what clustering makes of it
            torch.empty(MATRICES, channels, channels, dtype=torch.int64, device=device)
        except RuntimeError:  # torch.OutOfMemoryError is one
            size = MATRICES * channels**2 * 8 / 1e9
            raise UsageError(
                f"{channels:,} channels: clustering them takes {size:,.1f} GB, more than there is",
                hint="choose a layer with fewer channels in `model.tap`",
            ) from None
        return cls(
            gram=torch.zeros(channels, channels, dtype=torch.int64, device=device),
            dead=torch.zeros(channels, dtype=torch.int64, device=device),
            square=torch.zeros(2, dtype=torch.float64, device=device),
            pooled=torch.zeros(0, channels),
            samples=torch.zeros(0, dtype=torch.int64),
        )

    @torch.no_grad()
    def update(self, features: Features, samples: Tensor, total: int) -> None:
        """Take in the features (B, C, H, W) of a batch, or a pair of them.

        Args:
            features: of this process's images.
            samples: (B,) int64, which images they are.
            total: images of the batch over all processes.
        """
        seen, described = both(features)
        peaks = channel_peaks(seen)
        peak_gram(peaks, out=self.gram)
        self.dead += (peaks.value <= 0).sum(dim=0)
        squares = [x.float().square().sum(dtype=torch.float64) for x in (seen, described)]
        self.square += torch.stack(squares)
        if self.images < FIT_IMAGES:
            means = seen.mean(dim=(2, 3), dtype=torch.float32).cpu()
            self.pooled = torch.cat((self.pooled, means))
            self.samples = torch.cat((self.samples, samples))
        self.images += total
        self.batches += 1

    def state_dict(self) -> dict[str, Any]:
        """All there is to go on from. Every process calls this at the same batch."""
        return {
            "gram": distributed.all_reduce(self.gram),
            "dead": distributed.all_reduce(self.dead),
            "squares": torch.cat(distributed.all_gather(self.square[None])),
            "pooled": torch.cat(distributed.all_gather(self.pooled)),
            "samples": torch.cat(distributed.all_gather(self.samples)),
            "images": self.images,
            "batches": self.batches,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state: the first process takes over all that adds up exactly.

        Raises:
            ValueError: it is no state of such a pass; nothing has been changed then.
        """
        tensors = {name: v for name, v in state_dict.items() if isinstance(v, Tensor)}
        facts = {name: v for name, v in state_dict.items() if name not in tensors}
        seen = typed(Seen, facts, "progress")
        self._check(tensors, seen)
        self.images, self.batches = seen.images, seen.batches
        first, squares = distributed.rank() == 0, tensors["squares"]
        if len(squares) == distributed.world_size():
            self.square.copy_(squares[distributed.rank()])
        elif first:
            self.square.copy_(squares.sum(dim=0))
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
            "squares": shaped(rows(tensors, "squares"), 2, dtype=torch.float64),
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


def form_parts(
    model: PartModel,
    batches: Iterable[Batch],
    statistics: ChannelStatistics,
    *,
    restarts: int,
    keep: float,
    fit_steps: int,
    fit_lr: float,
    gain: float,
    seed: int,
    listen: Listener,
) -> PartDiscovery:
    """Form the parts and set up the grouping layers of a model for them, in place.

    Args:
        model: the model; its backbone is left as it is.
        batches: training images, shuffled and not augmented: `SCALE_IMAGES` of them are read.
        statistics: of all of them.
        restarts: of k-means.
        keep: share of each cluster that forms its part; with 1, the paper's, all channels.
        fit_steps: steps that fit the grouping layers.
        fit_lr: Adam learning rate of the fit.
        gain: standard deviation the response in front of the squashing is scaled to.
        seed: seed of the clustering and the fit.
        listen: hears of the progress.

    Raises:
        DataError: fewer channels respond than there are parts.
        NonFiniteError: the features, or what they add up to, leave the range of numbers.
    """
    state = statistics.state_dict()
    dead_share = state["dead"].double() / statistics.images
    groups = group_channels(
        state["gram"], dead_share, model.parts, restarts=restarts, keep=keep, seed=seed
    )
    if text := weakness(groups):
        listen(Notice("warning", text))
    squares = state["squares"].sum(dim=0).tolist()
    map_scale, feature_scale = (
        1 / max(math.sqrt(square / (statistics.images * math.prod(shape))), 1e-12)
        for square, shape in zip(squares, (model.map_shape, model.feature_shape), strict=True)
    )

    indicators = F.one_hot(groups.labels + 1, model.parts + 1)[:, 1:].T.float()  # (N, C)
    # In the order of the data set, whichever process read them.
    pooled = state["pooled"][state["samples"].argsort()].to(indicators.device)
    if (
        not (pooled.abs() * map_scale <= LARGEST_FEATURE).all()
        or not map_scale > 0
        or not feature_scale > 0
    ):
        raise _not_finite()
    model.map_scale.set(map_scale)
    model.feature_scale.set(feature_scale)
    inputs = pooled * model.map_scale.number
    _fit(model.grouping, inputs, indicators, fit_steps, fit_lr, seed, listen)
    with torch.no_grad():
        weights = model.grouping(inputs)
    response_std, responses, gazes = _look(model, batches)
    model.shift.set(*_shift(gazes, model.windows.stride))
    response_scale = gain / response_std
    if not 0 < response_scale < math.inf:
        raise _not_finite()
    model.response_scale.set(response_scale)
    model.responses.set(*responses)
    return PartDiscovery(
        images=statistics.images,
        groups=groups,
        dead_share=dead_share,
        fit_error=(weights - indicators).abs().mean().item(),
        fit_agreement=((weights > 0.5) == (indicators > 0.5)).double().mean().item(),
    )


def _not_finite() -> NonFiniteError:
    return NonFiniteError("features are not finite", hint="use other `model.weights`")


def _fit(
    grouping: nn.Module,
    inputs: Tensor,
    indicators: Tensor,
    steps: int,
    lr: float,
    seed: int,
    listen: Listener,
) -> None:
    """Fit the grouping layers, from pooled features (n, C), to the indicators (N, C)."""
    optimiser = torch.optim.Adam(grouping.parameters(), lr)
    draw = torch.Generator().manual_seed(seed)
    for step in range(steps):
        chosen = torch.randint(len(inputs), (min(64, len(inputs)),), generator=draw)
        weights = grouping(inputs[chosen.to(inputs.device)])
        loss = F.binary_cross_entropy(weights, indicators.expand_as(weights))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 20 == 19 or step + 1 == steps:
            figures = {"loss": loss.item()}
            listen(Progress("Fitting grouping layers", step + 1, steps, figures))


@torch.no_grad()
def _look(model: PartModel, batches: Iterable[Batch]) -> tuple[float, tuple[float, ...], Tensor]:
    """What remains to be measured of responses and cells, on some of the images.

    Returns:
        The standard deviation over positions of sum_c d_c F_c, averaged over parts and images; of
        each part the mean and then the standard deviation over positions and images; and how far
        from their windows cells look (n, 2).
    """
    device = next(model.parameters()).device
    summed = torch.zeros(3, model.parts, dtype=torch.float64, device=device)
    images, gazes = 0, []
    for batch in batches:
        here = batch.to(device).images
        if images < GAZE_IMAGES:
            few = here[:GAZE_IMAGES]  # gradients take memory that the pass did not
            gazes.append(gaze(model.backbone, model.windows, few))
        features = both(model.backbone(here))[0].float()
        response = torch.einsum("bnc,bchw->bnhw", model.channel_weights(features), features)
        each = response.flatten(2).double()
        moments = each.std(dim=2), each.mean(dim=2), each.square().mean(dim=2)
        summed += torch.stack(moments).sum(dim=1)
        images += batch.total
        if images >= SCALE_IMAGES:
            break
    within, mean, square = distributed.all_reduce(summed) / images
    least = 1e-6 * square.max().sqrt().clamp_min(1e-6)  # of a part that says the same everywhere
    std = (square - mean.square()).clamp_min(0).sqrt().clamp_min(least)
    responses = tuple(torch.cat((mean, std)).tolist())
    everywhere = torch.cat(distributed.all_gather(torch.cat(gazes)))
    return max(within.mean().item(), 1e-12), responses, everywhere


def _shift(gazes: Tensor, stride: tuple[float, float]) -> tuple[float, float]:
    """How far from their windows cells look, in pixels; 0 where that is little, or uncertain."""
    x, y = (
        known.mean().item()
        if len(known := axis[axis.isfinite()]) > 1
        and abs(known.mean()) > max(step / 8, 3 * known.std() / math.sqrt(len(known)))
        else 0.0
        for axis, step in zip(gazes.T, stride, strict=True)
    )
    return x, y
