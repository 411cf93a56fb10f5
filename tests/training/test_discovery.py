import pytest
import torch
from sklearn.cluster import KMeans
from torch import nn

from macnn import events
from macnn.data.loaders import Batch
from macnn.errors import NonFiniteError, UsageError
from macnn.model.alignment import CellGrid
from macnn.model.grouping import ChannelGrouping
from macnn.model.scale import Responses, Scale, Shift
from macnn.training import discovery
from macnn.training.discovery import ChannelStatistics, form_parts
from macnn_kernels import channel_peaks, cluster_channels


@pytest.fixture(autouse=True, scope="module")
def straight():
    """Cells look at the centre of their windows: these models have no images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(discovery, "gaze", lambda *_: torch.zeros(1, 2))
        yield


class Moving(nn.Module):
    """Stands in for a model: channels that follow one of three moving spots, and a dead one."""

    def __init__(self, images, channels=12, side=9):
        super().__init__()
        self.parts = 3
        self.map_scale, self.feature_scale, self.response_scale = Scale(), Scale(), Scale()
        self.responses = Responses(3)
        self.shift, self.windows = Shift(), CellGrid((side, side), (4.0, 4.0), (8.0, 8.0))
        self.map_shape = self.feature_shape = (channels + 1, side, side)
        self.grouping = ChannelGrouping(3, channels + 1, 8)
        draw = torch.Generator().manual_seed(0)
        spots = torch.randint(side * side, (images, 3), generator=draw)
        self.member = torch.arange(channels) % 3
        self.maps = torch.rand(images, channels + 1, side * side, generator=draw)
        self.maps[:, :channels].scatter_(2, spots[:, self.member, None], 5.0)
        self.maps[:, channels] = -1.0
        self.maps = self.maps.unflatten(2, (side, side))

    def backbone(self, indices):
        return self.maps[indices]

    def channel_weights(self, features):
        return self.grouping(features.mean(dim=(2, 3)) * self.map_scale.number)


class Indices:
    """A loader whose images are their own numbers."""

    batch_size = 4

    def __init__(self, count):
        self.numbers = torch.arange(count)

    def __len__(self):
        return -(-len(self.numbers) // self.batch_size)

    def epoch(self, number=0, offset=0):
        for group in self.numbers.split(self.batch_size)[offset:]:
            yield Batch(group, group, group, group, total=len(group))


FIT = {"gain": 1.5, "seed": 0, "restarts": 16, "keep": 0.5, "fit_steps": 150, "fit_lr": 1e-2}


def collect(model, statistics, count=30):
    """The pass over the images, batch by batch, from where the statistics are."""
    for batch in Indices(count).epoch(offset=statistics.batches):
        statistics.update(model.backbone(batch.images), batch.samples, batch.total)
        yield statistics.batches


@pytest.fixture(scope="module")
def found():
    torch.manual_seed(0)
    model = Moving(images=30)
    statistics = ChannelStatistics.begin(model)
    list(collect(model, statistics))
    result = form_parts(model, Indices(30).epoch(), statistics, **FIT, listen=events.silent)
    return model, result


def test_statistics_that_were_saved_half_way_end_as_if_never_stopped():
    model = Moving(images=30)
    whole, half, rest = (ChannelStatistics.begin(model) for _ in range(3))
    list(collect(model, whole))
    next(batches for batches in collect(model, half) if batches == 3)
    rest.load_state_dict(half.state_dict())
    list(collect(model, rest))
    ended = rest.state_dict()
    for name, expected in whole.state_dict().items():
        same = torch.equal if isinstance(expected, torch.Tensor) else int.__eq__
        assert same(expected, ended[name]), name


def test_more_channels_than_memory_allows_end_before_the_pass():
    model = Moving(images=1)
    model.map_shape = (2**23, 9, 9)
    with pytest.raises(UsageError) as refused:
        ChannelStatistics.begin(model)
    assert str(refused.value) == (
        "8,388,608 channels: clustering them takes 2,251,799.8 GB, more than there is; "
        "choose a layer with fewer channels in `model.tap`"
    )


def test_channels_that_peak_together_become_one_part(found):
    model, result = found
    groups = {tuple(sorted(set(model.member[result.groups.labels[:-1] == k].tolist())))
              for k in range(3)}  # fmt: skip
    assert groups == {(0,), (1,), (2,)}
    assert result.images == 30
    assert result.groups.spread == 0  # members peak at the very same place


def test_a_channel_without_response_is_counted_as_dead(found):
    _, result = found
    assert result.dead_share.tolist() == [0.0] * 12 + [1.0]


def test_grouping_layers_reproduce_the_clusters(found):
    _, result = found
    assert result.fit_agreement == 1
    assert result.fit_error < 0.05


def test_scales_bring_features_and_responses_to_the_size_asked_for(found):
    model, _ = found
    features = model.maps * model.feature_scale.number
    assert features.square().mean().sqrt().item() == pytest.approx(1, rel=1e-4)
    response = torch.einsum("bnc,bchw->bnhw", model.channel_weights(model.maps), model.maps)
    spread = (response * model.response_scale.number).flatten(2).std(dim=2).mean().item()
    assert spread == pytest.approx(1.5, rel=1e-4)


def test_mean_and_deviation_of_every_parts_responses_are_measured(found):
    model, _ = found
    response = torch.einsum("bnc,bchw->bnhw", model.channel_weights(model.maps), model.maps)
    each = response.transpose(0, 1).flatten(1)
    expected = torch.stack((each.mean(dim=1), each.std(dim=1, correction=0)))
    torch.testing.assert_close(model.responses.value, expected, rtol=1e-4, atol=1e-4)


def test_the_partition_is_that_of_kmeans_on_explicit_trajectories():
    model = Moving(images=30)
    peaks = channel_peaks(model.maps)
    trajectories = torch.cat((peaks.x, peaks.y)).T.double()  # (C, 2 images)
    gram = discovery.peak_gram(peaks)
    starts = torch.tensor([[0, 4, 8]])
    ours = cluster_channels(gram, 3, starts=starts)
    theirs = KMeans(3, init=trajectories[starts[0]].numpy(), n_init=1, tol=0, algorithm="lloyd")
    theirs.fit(trajectories.numpy())
    assert ours.inertia.item() == pytest.approx(theirs.inertia_, rel=1e-9)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e30])
def test_features_out_of_range_end_the_search_for_parts(value):
    model = Moving(images=8)
    statistics = ChannelStatistics.begin(model)
    list(collect(model, statistics, 8))
    statistics.pooled[3, 2] = value
    few = FIT | {"restarts": 2, "fit_steps": 1}
    with pytest.raises(NonFiniteError, match="features are not finite; use other"):
        form_parts(model, Indices(8).epoch(), statistics, **few, listen=events.silent)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        ([-12.0, -10.0, -14.0, -12.0], -12.0),
        ([-12.0, float("nan"), -14.0, -13.0], -13.0),
        ([-1.0, -1.2, -0.8, -1.0], 0.0),  # an eighth of a cell decides nothing
        ([-30.0, 20.0, -25.0, 5.0], 0.0),  # who knows
        ([-12.0], 0.0),
        ([float("nan")] * 3, 0.0),
    ],
)
def test_cells_are_shifted_by_what_is_large_and_certain(x, expected):
    gazes = torch.tensor([x, [0.0] * len(x)], dtype=torch.float64).T
    assert discovery._shift(gazes, (32.0, 32.0)) == pytest.approx((expected, 0.0))
