import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.library import opcheck
from torch.testing import assert_close

from macnn_kernels.grouping_loss import grouping_loss
from macnn_kernels.grouping_loss.op import loss_bytes

# numpy, which interprets the kernels, warns about what lanes outside a mask compute
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")

fp64, fp32, bf16, fp16 = torch.float64, torch.float32, torch.bfloat16, torch.float16


def maps(B, N, H, W, *, dtype=fp32, device="cpu", levels=None):
    """Maps that sum to about one; a few `levels` make ties."""
    generator = torch.Generator().manual_seed(H * W + N)
    m = torch.rand(B, N, H, W, generator=generator)
    if levels is not None:
        m = (m * levels).round() / levels
    return (m * 2 / (H * W)).to(device, dtype).requires_grad_()


def eager(attention, *, margin=0.02):
    """The formulas as one would type them, one part at a time."""
    N, H, W = attention.shape[1:]
    distance, diversity = [], []
    for i in range(N):
        m = attention[:, i]
        peak = m.flatten(1).argmax(1)
        y = torch.arange(H, device=m.device)[:, None] - (peak // W)[:, None, None]
        x = torch.arange(W, device=m.device) - (peak % W)[:, None, None]
        distance.append((m * (x * x + y * y)).sum((1, 2)))
        others = [attention[:, k] for k in range(N) if k != i]
        rival = torch.stack(others).max(0).values if others else torch.zeros_like(m)
        diversity.append((m * (rival - margin)).sum((1, 2)))
    return torch.stack(distance, 1), torch.stack(diversity, 1)


def results(operator, attention, **options):
    """Outputs, and the gradient for random cotangents."""
    outputs = operator(attention, **options)
    generator = torch.Generator().manual_seed(1)
    cotangents = [
        torch.randn(out.shape, generator=generator).to(out.device, out.dtype) for out in outputs
    ]
    grads = torch.autograd.grad(outputs, attention, cotangents)
    return [x.detach() for x in (*outputs, *grads)]


def assert_as_good_as_eager(attention, triton, **options):
    """Against float64 the kernels err no more than eager PyTorch in that dtype, and a little."""
    own = results(eager, attention, **options)
    truth = results(eager, attention.detach().to(fp64).requires_grad_(), **options)
    with triton():
        found = results(grouping_loss, attention, **options)
    for name, x, y, true in zip(("Dis", "Div", "dm"), found, own, truth, strict=True):
        assert x.shape == y.shape
        error, allowed = ((z.to(fp64) - true).abs().max() for z in (x, y))
        slack = 2 * torch.finfo(x.dtype).eps * true.abs().max()
        assert error <= allowed + slack, name


def test_losses_of_a_worked_case():
    m = torch.tensor([[[[0.5, 0.5, 0.0]], [[0.0, 0.25, 0.75]]]])
    distance, diversity = grouping_loss(m)  # peaks at x = 0, the first of a tie, and x = 2
    assert_close(distance, torch.tensor([[0.5, 0.25]]))
    assert_close(diversity, torch.tensor([[-0.01 + 0.5 * 0.23, 0.25 * 0.48 - 0.015]]))


def test_a_tied_maximum_belongs_to_the_first_part():
    m = torch.ones(1, 3, 1, 1, requires_grad=True)
    grouping_loss(m, margin=0.0).diversity.sum().backward()
    # all gain 1 by (4); part 0 is the rival of 1 and 2, part 1 that of 0
    assert m.grad.flatten().tolist() == [3, 2, 1]


def test_a_part_alone_has_no_rivals():
    m = torch.full((1, 1, 2, 2), 0.25, requires_grad=True)
    diversity = grouping_loss(m, margin=0.1).diversity
    diversity.backward()
    assert_close(diversity, torch.tensor([[-0.1]]))
    assert_close(m.grad, torch.full_like(m, -0.1))


def test_the_gradient_lowers_the_loss_of_the_others_too():
    m = torch.tensor([0.6, 0.4]).view(1, 2, 1, 1).requires_grad_()
    grouping_loss(m, margin=0.0).diversity[0, 0].backward()
    assert_close(m.grad.flatten(), torch.tensor([0.4, 0.6]))


@pytest.mark.parametrize("dtype", [fp32, bf16, fp16])
@pytest.mark.parametrize(
    ("shape", "levels"),
    [
        ((2, 1, 1, 1), None),
        ((2, 2, 7, 7), None),
        ((2, 4, 13, 13), None),
        ((1, 7, 27, 28), 8),
        ((1, 4, 56, 56), 8),
        ((1, 16, 5, 3), None),
    ],
)
def test_kernels_are_as_good_as_eager(shape, levels, dtype, device, triton):
    assert_as_good_as_eager(maps(*shape, dtype=dtype, device=device, levels=levels), triton)


@pytest.mark.parametrize("kernels", [False, True])
@pytest.mark.parametrize("N", [1, 2, 4, 7])
def test_ties_are_settled_as_in_the_formulas(N, kernels, device, triton):
    m = maps(2, N, 6, 9, device=device, levels=2)
    expected = results(eager, m)
    with triton() if kernels else torch.enable_grad():
        found = results(grouping_loss, m)
    assert_close(found, expected)


def test_kernels_take_what_is_not_contiguous(device, triton):
    m = maps(2, 6, 10, 14, device=device).detach()
    for view in (
        m[:, ::2],
        m[:, :, 1:, ::2],
        m.transpose(2, 3),
        m.to(memory_format=torch.channels_last),
        m[:1].expand(3, -1, -1, -1),
    ):
        assert_as_good_as_eager(view.requires_grad_(), triton, margin=0.5)


def test_two_runs_agree_to_the_bit(device, triton):
    m = maps(2, 4, 27, 28, device=device)
    with triton():
        first, second = (results(grouping_loss, m) for _ in range(2))
    assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("kernels", [False, True])
def test_an_empty_batch_gives_empty_results(kernels, device, triton):
    m = maps(0, 3, 4, 5, device=device)
    with triton() if kernels else torch.enable_grad():
        distance, diversity, grad = results(grouping_loss, m)
    assert distance.shape == diversity.shape == (0, 3)
    assert grad.shape == m.shape


@pytest.mark.parametrize("kernels", [False, True])
def test_what_is_not_finite_propagates(kernels, device, triton):
    m = maps(2, 3, 4, 4, device=device).detach()
    m[1, :, 2, 1] = float("nan")
    with triton() if kernels else torch.enable_grad():
        for loss in grouping_loss(m):
            assert loss[0].isfinite().all()
            assert loss[1].isnan().all()


@pytest.mark.parametrize("N", [1, 2, 3])
def test_reference_gradients_are_right(N):
    assert gradcheck(grouping_loss, (maps(2, N, 3, 4, dtype=fp64),))


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # opcheck looks at it
@pytest.mark.parametrize("kernels", [False, True])
@pytest.mark.parametrize("dtype", [fp32, bf16])
def test_registration_holds(dtype, kernels, device, triton):
    with triton() if kernels else torch.enable_grad():
        opcheck(
            torch.ops.macnn.grouping_loss.default,
            (maps(2, 3, 4, 5, dtype=dtype, device=device), 0.02),
        )


@pytest.mark.parametrize("kernels", [False, True])
def test_compiles_without_a_graph_break(kernels, device, triton):
    m = maps(2, 3, 4, 5, device=device)
    compiled = torch.compile(grouping_loss, fullgraph=True, backend="aot_eager")
    with triton() if kernels else torch.enable_grad():
        assert_close(results(compiled, m), results(grouping_loss, m), rtol=1e-6, atol=1e-7)


sizes = st.tuples(*(st.integers(1, high) for high in (2, 5, 6, 6)))


@settings(deadline=None, max_examples=40)
@given(sizes, st.randoms(use_true_random=False))
def test_permuting_parts_permutes_the_losses(shape, random):
    m = maps(*shape, dtype=fp64)
    order = random.sample(range(shape[1]), shape[1])
    losses = grouping_loss(m)
    assert_close(tuple(grouping_loss(m[:, order])), tuple(loss[:, order] for loss in losses))


@settings(deadline=None, max_examples=40)
@given(sizes, st.data())
def test_a_map_of_one_cell_is_compact_and_only_its_own_cell_can_overlap(shape, data):
    B, N, H, W = shape
    cells = data.draw(st.lists(st.integers(0, H * W - 1), min_size=N, max_size=N))
    m = torch.zeros(B, N, H * W, dtype=fp64)
    m[:, torch.arange(N), cells] = 1
    distance, diversity = grouping_loss(m.view(shape))
    overlap = torch.tensor([float(cells.count(cell) > 1) for cell in cells], dtype=fp64)
    assert_close(distance, torch.zeros_like(distance))
    assert_close(diversity, (overlap - 0.02).expand(B, N))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
def test_the_losses_of_constant_maps_are_known(H, W, N):
    level = 1 / (H * W)
    distance, diversity = grouping_loss(torch.full((1, N, H, W), level, dtype=fp64))
    # the peak of a constant map is its first cell
    mean = sum(x * x for x in range(W)) / W + sum(y * y for y in range(H)) / H
    assert_close(distance, torch.full_like(distance, mean))
    assert_close(diversity, torch.full_like(diversity, (level if N > 1 else 0) - 0.02))


@settings(deadline=None, max_examples=40)
@given(sizes, st.floats(0.1, 10))
def test_distance_is_linear_and_diversity_quadratic_in_the_maps(shape, factor):
    m = maps(*shape, dtype=fp64)
    distance, diversity = grouping_loss(m)
    found = grouping_loss(factor * m, margin=0.02 * factor)
    assert_close(tuple(found), (factor * distance, factor**2 * diversity))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 4, 7), r"attention: expected \(B, N, H, W\), got \(2, 4, 7\) float32"),
        ((2, 0, 7, 7), r"attention: .* only B may be 0, got \(2, 0, 7, 7\)"),
        ((2, 4, 7, 0), r"attention: .* only B may be 0, got \(2, 4, 7, 0\)"),
    ],
)
def test_bad_shapes_are_named(shape, message):
    with pytest.raises(ValueError, match=message):
        grouping_loss(torch.empty(shape))


def test_bad_dtypes_are_named():
    with pytest.raises(ValueError, match=r"attention: expected a floating-point dtype, got .* int"):
        grouping_loss(torch.ones(1, 2, 3, 3, dtype=torch.int32))


def test_cost_of_a_worked_case():
    assert loss_bytes(2, 3, 4, 5, 4) == 480 + 72
    assert loss_bytes(2, 3, 4, 5, 2, backward=True) == 480 + 72
