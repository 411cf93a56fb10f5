import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from torch.testing import assert_close

from macnn_kernels import ChannelClusters, cluster_channels
from macnn_kernels.channel_clusters import op, reference
from macnn_kernels.launch import capture_launches


def trajectories(C, images=20, side=14, seed=0):
    """(2 images, C) integer coordinates, one trajectory per column."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, side, (2 * images, C), generator=generator)


def planted(C, N, seed=0):
    """Trajectories around N distant centres, and the group of each."""
    group = torch.randint(0, N, (C,), generator=torch.Generator().manual_seed(seed))
    group[:N] = torch.arange(N)
    return trajectories(N, side=100, seed=seed)[:, group] + trajectories(C, side=3, seed=1), group


def gram_of(points):
    return points.T @ points


def inertia_of(points, labels):
    """Sum of squared distances to the group means, from the trajectories themselves."""
    groups = [points[:, labels == k].double() for k in labels.unique()]
    return sum(((group - group.mean(dim=1, keepdim=True)) ** 2).sum() for group in groups)


def forced(triton, *args, **options):
    """Clusters from the kernel, on the CPU."""
    with triton():
        return ChannelClusters(*(t.cpu() for t in cluster_channels(*args, **options)))


def assert_same_clusters(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("N", [1, 2, 4, 7])
@pytest.mark.parametrize("seed", range(4))
def test_gram_k_means_is_lloyd_on_trajectories(N, seed):
    points = trajectories(60, side=1000, seed=seed)  # so wide that distances do not tie
    starts = torch.randperm(60, generator=torch.Generator().manual_seed(seed))[:N]
    found = cluster_channels(gram_of(points), N, starts=starts[None])
    data = points.T.double().numpy()
    expected = KMeans(N, init=data[starts.numpy()], n_init=1, tol=0, algorithm="lloyd").fit(data)
    assert found.inertia.item() == pytest.approx(expected.inertia_, rel=1e-9)
    pairs = set(zip(found.labels.tolist(), expected.labels_.tolist(), strict=True))
    assert len(pairs) == N  # the same groups, whatever their numbers


def test_gram_k_means_of_very_many_channels_is_lloyd_on_trajectories(monkeypatch):
    monkeypatch.setattr(reference, "ROWS_PER_PRODUCT", 700)  # several, the last one shorter
    points = trajectories(2100, images=2, side=1000)
    gram = gram_of(points.double()).long()
    found = cluster_channels(gram, 3, starts=torch.arange(3)[None])
    data = points.T.double().numpy()
    expected = KMeans(3, init=data[:3], n_init=1, tol=0, algorithm="lloyd").fit(data)
    assert found.inertia.item() == pytest.approx(expected.inertia_, rel=1e-9)
    assert len(set(zip(found.labels.tolist(), expected.labels_.tolist(), strict=True))) == 3


def test_planted_groups_are_found():
    points, group = planted(80, 5)
    found = cluster_channels(gram_of(points), 5)
    assert torch.equal(found.labels, group)  # both are numbered by first channel
    assert torch.equal(found.sizes, group.bincount())
    assert_close(found.inertia, inertia_of(points, group))


def test_no_worse_than_scikit_learn():
    points = trajectories(96, images=6)
    ours = cluster_channels(gram_of(points), 4)
    theirs = KMeans(4, n_init=64, random_state=0).fit(points.T.double().numpy())
    assert ours.inertia.item() <= theirs.inertia_ * 1.01


def test_identical_channels_still_fill_every_group():
    found = cluster_channels(torch.full((6, 6), 7), 3)
    assert found.sizes.min() >= 1
    assert found.inertia == 0


def test_as_many_groups_as_channels_leaves_nothing_over():
    found = cluster_channels(gram_of(trajectories(5)), 5)
    assert found.labels.tolist() == [0, 1, 2, 3, 4]
    assert found.inertia == 0


shapes = st.integers(1, 24).flatmap(lambda C: st.tuples(st.just(C), st.integers(1, min(C, 5))))


@settings(max_examples=40, deadline=None)
@given(shape=shapes, side=st.sampled_from([2, 14]), seed=st.integers(0, 99))
def test_result_is_consistent_and_canonical(shape, side, seed):
    C, N = shape
    points = trajectories(C, images=3, side=side, seed=seed)
    found = cluster_channels(gram_of(points), N, restarts=3, seed=seed)
    assert found.sizes.min() >= 1
    assert torch.equal(found.sizes, found.labels.bincount(minlength=N))
    first = [found.labels.tolist().index(k) for k in range(N)]
    assert first == sorted(first)
    assert_close(found.inertia, torch.as_tensor(inertia_of(points, found.labels)).double())


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(-(2**63), 2**63 - 1), few=st.integers(1, 4), more=st.integers(0, 4))
def test_more_restarts_are_never_worse(seed, few, more):
    gram = gram_of(trajectories(20))
    worse = cluster_channels(gram, 4, restarts=few, seed=seed)
    assert cluster_channels(gram, 4, restarts=few + more, seed=seed).inertia <= worse.inertia


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), power=st.integers(0, 8))
def test_scaling_coordinates_scales_inertia_only(seed, power):
    gram = gram_of(trajectories(20, seed=seed))
    found = cluster_channels(gram, 3, restarts=2, seed=seed)
    scaled = cluster_channels(gram * 4**power, 3, restarts=2, seed=seed)
    assert torch.equal(scaled.labels, found.labels)
    assert scaled.inertia == found.inertia * 4**power


@pytest.mark.parametrize("restarts", [1, 5])
def test_restarts_do_not_depend_on_each_other(restarts):
    gram = gram_of(trajectories(50))
    uniforms = op._uniforms(0, 12, 4, torch.device("cpu"))
    together = reference.cluster(gram, None, uniforms)
    apart = [reference.cluster(gram, None, part) for part in uniforms.split(restarts)]
    assert_same_clusters(together, [torch.cat(each) for each in zip(*apart, strict=True)])


def test_seed_decides():
    gram = gram_of(trajectories(60))
    runs = [cluster_channels(gram, 4, restarts=1, seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(runs[0].labels, runs[1].labels)
    assert not torch.equal(runs[0].labels, runs[2].labels)


def test_draws_are_split_mix_64():
    # the first output for seed 0 is part of the generator's published test vectors
    assert op._uniforms(0, 1, 1, torch.device("cpu")).item() == (0xE220A8397B1DCDAF >> 11) / 2**53
    draws = op._uniforms(7, 1000, 8, torch.device("cpu"))
    assert 0 <= draws.min() < 0.01 < 0.99 < draws.max() < 1
    assert abs(draws.mean() - 0.5) < 0.01


@pytest.mark.parametrize(
    ("C", "N", "restarts"), [(1, 1, 2), (5, 5, 3), (33, 7, 4), (96, 4, 4), (130, 2, 2)]
)
def test_kernel_gives_the_result_of_the_reference(C, N, restarts, device, triton):
    gram = gram_of(trajectories(C)).to(device)
    found = forced(triton, gram, N, restarts=restarts, seed=3)
    assert_same_clusters(found, cluster_channels(gram.cpu(), N, restarts=restarts, seed=3))


@pytest.mark.parametrize("C", [512, 2048])
def test_kernel_takes_many_channels(C, device, triton):
    points, group = planted(C, 4)
    gram = gram_of(points.double()).long().to(device)
    found = forced(triton, gram, 4, starts=torch.arange(4, device=device)[None])
    assert torch.equal(found.labels, group)


def test_more_channels_than_a_program_holds_take_the_reference(device, triton):
    points, group = planted(2049, 4)
    gram = gram_of(points.double()).long().to(device)
    with capture_launches() as launches:
        found = forced(triton, gram, 4, starts=torch.arange(4, device=device)[None])
    assert launches == []
    assert torch.equal(found.labels, group)


def test_kernel_starts_from_given_channels(device, triton):
    gram = gram_of(trajectories(40)).to(device)
    starts = torch.tensor([[0, 1, 2], [39, 39, 39], [7, 7, 8]], device=device)  # with repeats
    for each in (starts, starts[:1], starts[1:2], starts[2:]):
        with triton():
            found = cluster_channels(gram, 3, starts=each)
        assert_same_clusters(
            [t.cpu() for t in found], cluster_channels(gram.cpu(), 3, starts=each.cpu())
        )


def test_kernel_fills_empty_groups_as_the_reference_does(device, triton):
    points = trajectories(3, side=4)[:, torch.arange(12) % 3]  # three distinct trajectories
    gram = gram_of(points).to(device)
    found = forced(triton, gram, 5, restarts=3)
    assert_same_clusters(found, cluster_channels(gram.cpu(), 5, restarts=3))


@pytest.mark.parametrize("iterations", [0, 1])
def test_labels_and_inertia_agree_when_iterations_run_out(iterations, device, triton, monkeypatch):
    monkeypatch.setattr(reference, "MAX_ITERATIONS", iterations)
    points = trajectories(40)
    gram = gram_of(points).to(device)
    expected = cluster_channels(gram.cpu(), 3, restarts=2)
    assert_close(expected.inertia, inertia_of(points, expected.labels))
    assert_same_clusters(forced(triton, gram, 3, restarts=2), expected)


@pytest.mark.parametrize("C", [64, 512])
def test_integers_stay_exact_at_the_bound(C, device, triton):
    group = torch.arange(C) % 2
    largest = 2**61 // (C * max(C, 256)) - 1
    gram = torch.where(group[:, None] == group, largest, largest - 1).to(device)
    starts = torch.tensor([[0, 1]], device=device)
    for found in (cluster_channels(gram, 2, starts=starts), forced(triton, gram, 2, starts=starts)):
        assert torch.equal(found.labels.cpu(), group)
        assert found.inertia == 0


def test_operator_is_registered_soundly(device):
    gram = gram_of(trajectories(8)).to(device)
    torch.library.opcheck(op._cluster, (gram, 3, 2, 0, None))
    torch.library.opcheck(op._cluster, (gram, 3, 1, 0, torch.tensor([[0, 1, 2]], device=device)))


def test_operator_compiles_without_a_graph_break(device):
    gram = gram_of(trajectories(8)).to(device)

    def run(gram):
        return cluster_channels(gram, 3, restarts=2)

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    assert_same_clusters(compiled(gram), run(gram))


@pytest.mark.gpu
def test_nothing_waits_for_the_device():
    gram = gram_of(trajectories(64)).cuda()
    cluster_channels(gram, 4)
    torch.cuda.set_sync_debug_mode("error")
    try:
        cluster_channels(gram, 4)
    finally:
        torch.cuda.set_sync_debug_mode("default")


GRAM = torch.ones(4, 4, dtype=torch.int64)


@pytest.mark.parametrize(
    ("gram", "num_groups", "options", "message"),
    [
        (GRAM[0], 1, {}, r"gram: expected \(C, C\), got \(4,\) int64"),
        (GRAM[:3], 1, {}, r"gram: expected \(3, 3\)"),
        (GRAM.double(), 1, {}, r"gram: expected int64, got \(4, 4\) float64"),
        (GRAM, 0, {}, "num_groups: expected 1 to 4 .*, got 0"),
        (GRAM, 5, {}, "num_groups: expected 1 to 4 .*, got 5"),
        (GRAM, 2, {"restarts": 0}, "restarts: expected at least 1, got 0"),
        (GRAM, 2, {"starts": torch.zeros(1, 3, dtype=torch.int64)}, r"starts: expected \(1, 2\)"),
        (GRAM, 2, {"starts": torch.zeros(0, 2, dtype=torch.int64)}, r"starts: expected \(1, 2\)"),
        (GRAM, 2, {"starts": torch.zeros(1, 2)}, "starts: expected int64"),
    ],
)
def test_bad_input_is_named(gram, num_groups, options, message):
    with pytest.raises(ValueError, match=message):
        cluster_channels(gram, num_groups, **options)
