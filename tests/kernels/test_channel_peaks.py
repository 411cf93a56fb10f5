import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from macnn_kernels import Peaks, channel_peaks, peak_gram
from macnn_kernels.channel_peaks import kernels, op, reference

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
LAYOUTS = (torch.contiguous_format, torch.channels_last)


def features(*shape, dtype=torch.float32, seed=0):
    """Few distinct values, half of them zero: ties and dead channels abound."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-3, 4, shape, generator=generator).clamp(min=0).to(dtype)


def trajectories(peaks):
    return torch.cat([peaks.x, peaks.y]).long()


def assert_same_peaks(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def test_peak_is_the_largest_response_in_cells():
    maps = torch.tensor([[[[0.0, 1, 0], [0, 0, 5]], [[7, 0, 0], [0, 0, 0]]]])
    peaks = channel_peaks(maps)
    assert peaks.x.tolist() == [[2, 0]]
    assert peaks.y.tolist() == [[1, 0]]
    assert peaks.value.tolist() == [[5, 7]]
    assert peaks.x.dtype == peaks.y.dtype == torch.int32


def test_ties_go_to_the_first_position_in_row_major_order():
    peaks = channel_peaks(torch.tensor([[[[0.0, 3, 3], [3, 0, 3]]]]))
    assert (peaks.x.item(), peaks.y.item()) == (1, 0)


@pytest.mark.parametrize("fill", [0.0, -2.0, float("-inf")])
def test_a_dead_channel_peaks_at_the_map_centre(fill):
    peaks = channel_peaks(torch.full((1, 1, 5, 8), fill))
    assert (peaks.x.item(), peaks.y.item(), peaks.value.item()) == (4, 2, fill)


def test_peaks_carry_no_gradient():
    assert not channel_peaks(torch.rand(1, 2, 3, 3, requires_grad=True)).value.requires_grad


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape",
    [
        (2, 5, 1, 1),
        (2, 96, 7, 7),
        (1, 512, 13, 13),
        (3, 1, 27, 28),
        (1, 20, 56, 56),
        (1, 2048, 3, 3),
    ],
)
def test_kernel_finds_the_peaks_of_the_reference(shape, dtype, layout, device, triton):
    maps = features(*shape, dtype=dtype).to(device, memory_format=layout)
    with triton():
        found = channel_peaks(maps)
    assert_same_peaks(found, reference.channel_peaks(maps))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_kernel_propagates_what_is_not_finite(layout, device, triton):
    inf, nan = float("inf"), float("nan")
    maps = torch.zeros(1, 4, 20, 20)
    maps[0, 0, 3, 4] = inf
    maps[0, 1, 2, 7], maps[0, 1, 19, 19], maps[0, 1, 0, 0] = nan, nan, inf
    maps[0, 2] = -inf
    maps[0, 3, 0, 1], maps[0, 3, 19, 0] = -nan, 1
    maps = maps.to(device, memory_format=layout)
    with triton():
        found = channel_peaks(maps)
    assert_same_peaks(found, reference.channel_peaks(maps))
    assert found.x.tolist() == [[4, 7, 10, 1]]
    assert found.y.tolist() == [[3, 2, 10, 0]]


VIEWS = {
    "crop": lambda maps: maps[:, :, 1:-2, 2:],
    "every other channel": lambda maps: maps[:, ::2],
    "every other image": lambda maps: maps[::2],
    "rows and columns exchanged": lambda maps: maps.transpose(2, 3),
    "expanded": lambda maps: maps[:1].expand(3, -1, -1, -1),
    "no images": lambda maps: maps[:0],
    "no channels": lambda maps: maps[:, :0],
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
def test_kernel_takes_any_view(view, device, triton):
    maps = view(features(3, 6, 9, 14)).to(device)
    with triton():
        found = channel_peaks(maps)
    assert_same_peaks(found, reference.channel_peaks(maps))


def test_both_layouts_are_read_without_a_copy(triton, device, monkeypatch):
    seen = []
    monkeypatch.setattr(kernels, "launch", lambda kernel, grid, maps, *rest, **_: seen.append(maps))
    for layout in LAYOUTS:
        maps = torch.rand(2, 8, 5, 5, device=device).to(memory_format=layout)
        kernels.channel_peaks(maps)
        assert seen.pop().data_ptr() == maps.data_ptr()


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 4),
    dx=st.integers(0, 5),
    dy=st.integers(0, 5),
    seed=st.integers(0, 99),
)
def test_moving_the_map_moves_the_peak(shape, dx, dy, seed):
    maps = features(*shape, seed=seed) + 1  # positive: padding cannot win
    peaks = channel_peaks(maps)
    moved = channel_peaks(torch.nn.functional.pad(maps, (dx, 0, dy, 0)))
    assert_same_peaks(moved, (peaks.x + dx, peaks.y + dy, peaks.value))


@pytest.mark.parametrize(("B", "C"), [(0, 3), (1, 1), (33, 5), (7, 70)])
@pytest.mark.parametrize("side", [8, 128, 16384])
def test_gram_is_exact(B, C, side, device, triton, monkeypatch):
    monkeypatch.setattr(reference, "ROWS_PER_PRODUCT", 32)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randint(0, side, (2, B, C), generator=generator, dtype=torch.int32).to(device)
    peaks = Peaks(x, y, torch.ones(B, C))
    points = trajectories(peaks).cpu()
    expected = points.T @ points
    assert torch.equal(peak_gram(peaks).cpu(), expected)
    with triton():
        assert torch.equal(peak_gram(peaks).cpu(), expected)


def test_gram_does_not_overflow_at_the_bound(device, triton):
    B, t = kernels.IMAGES_PER_LAUNCH + 1, op.MAX_SIDE - 1
    x = torch.full((B, 1), t, dtype=torch.int32, device=device)
    with triton():
        assert peak_gram(Peaks(x, x, x)).item() == 2 * B * t * t


@settings(max_examples=20, deadline=None)
@given(B=st.integers(0, 9), split=st.integers(0, 9), seed=st.integers(0, 99))
def test_gram_of_parts_adds_up_to_the_gram_of_the_whole(B, split, seed):
    peaks = channel_peaks(features(B, 4, 6, 5, seed=seed))
    out = torch.zeros(4, 4, dtype=torch.int64)
    for part in (slice(None, split), slice(split, None)):
        assert peak_gram(Peaks(*(t[part] for t in peaks)), out=out) is out
    assert torch.equal(out, peak_gram(peaks))


def test_operators_are_registered_soundly(device):
    maps = features(2, 3, 4, 5).to(device, memory_format=torch.channels_last)
    x, y, _ = channel_peaks(maps)
    gram = torch.zeros(3, 3, dtype=torch.int64, device=device)
    torch.library.opcheck(op._peaks, (maps,))
    torch.library.opcheck(op._gram, (x, y, gram))


def test_operators_compile_without_a_graph_break(device):
    maps = features(2, 3, 4, 5).to(device)

    def both(maps):
        return peak_gram(channel_peaks(maps))

    compiled = torch.compile(both, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(maps), both(maps))


@pytest.mark.gpu
@pytest.mark.parametrize("layout", LAYOUTS)
def test_offsets_beyond_32_bits_are_reached(layout):
    maps = torch.zeros(1, 9, 2**14, 2**14, dtype=torch.bfloat16, device="cuda").to(
        memory_format=layout
    )
    maps[0, 8, -1, -1] = 1
    peaks = channel_peaks(maps)
    assert (peaks.x[0, 8].item(), peaks.y[0, 8].item()) == (2**14 - 1, 2**14 - 1)


@pytest.mark.gpu
def test_nothing_waits_for_the_device():
    maps = torch.rand(4, 64, 28, 28, device="cuda")
    peak_gram(channel_peaks(maps))
    torch.cuda.set_sync_debug_mode("error")
    try:
        peak_gram(channel_peaks(maps))
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_costs_count_what_must_move():
    assert op.peaks_bytes(2, 3, 4, 5, element_size=2) == 2 * 3 * (20 * 2 + 4 + 4 + 2)
    assert op.gram_bytes(2, 3) == 2 * 2 * 3 * 4 + 2 * 3 * 3 * 8


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (torch.zeros(2, 3, 4), r"features: expected \(B, C, H, W\), got \(2, 3, 4\) float32"),
        (torch.zeros(1, 1, 2, 2, dtype=torch.int64), "features: expected a floating-point dtype"),
        (torch.zeros(1, 1, 0, 2), r"features: expected 1 <= H, W <= 16384, got \(1, 1, 0, 2\)"),
    ],
)
def test_bad_features_are_named(maps, message):
    with pytest.raises(ValueError, match=message):
        channel_peaks(maps)


def test_bad_peaks_are_named():
    x = torch.zeros(2, 3, dtype=torch.int32)
    with pytest.raises(ValueError, match=r"peaks\.y: expected \(2, 3\)"):
        peak_gram(Peaks(x, x[:1], x))
    with pytest.raises(ValueError, match=r"peaks\.x: expected int32, got \(2, 3\) int64"):
        peak_gram(Peaks(x.long(), x, x))
    with pytest.raises(ValueError, match=r"out: expected \(3, 3\)"):
        peak_gram(Peaks(x, x, x), out=torch.zeros(2, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="out: expected contiguous int64"):
        peak_gram(Peaks(x, x, x), out=torch.zeros(3, 3))
