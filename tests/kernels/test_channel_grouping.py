import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck
from torch.library import opcheck
from torch.testing import assert_close

from macnn_kernels.channel_grouping import channel_grouping
from macnn_kernels.channel_grouping.op import grouping_bytes

# numpy, which interprets the kernels, warns where exp overflows to the right limit
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")

fp64, fp32, bf16, fp16 = torch.float64, torch.float32, torch.bfloat16, torch.float16


def inputs(B, C, K, N, *, dtype=fp32, parameters=None, device="cpu"):
    """Pooled features and parameters that keep both activations away from their limits."""
    generator = torch.Generator().manual_seed(C + K + N)
    shapes = (B, C), (N, K, C), (N, K), (N, C, K), (N, C)
    spreads = 1, C**-0.5, 0.1, K**-0.5, 0.1
    dtypes = dtype, *[parameters or dtype] * 4
    return [
        (torch.randn(shape, generator=generator) * spread).to(device, kind).requires_grad_()
        for shape, spread, kind in zip(shapes, spreads, dtypes, strict=True)
    ]


def eager(pooled, w1, b1, w2, b2):
    """The formula as one would type it."""
    hidden = (torch.einsum("bc,nkc->bnk", pooled, w1) + b1).tanh()
    return (torch.einsum("bnk,nck->bnc", hidden, w2) + b2).sigmoid()


def results(operator, *tensors):
    """Output, and gradients for a random cotangent."""
    weights = operator(*tensors)
    cotangent = torch.randn(weights.shape, generator=torch.Generator().manual_seed(1))
    wanted = [x for x in tensors if x.requires_grad]
    grads = torch.autograd.grad(weights, wanted, cotangent.to(weights.device, weights.dtype))
    return [x.detach() for x in (weights, *grads)]


def assert_as_good_as_eager(tensors, triton):
    """Against float64 the kernels err no more than eager PyTorch in that dtype, and a little."""
    own = results(eager, *tensors)
    truth = results(eager, *(x.detach().to(fp64).requires_grad_() for x in tensors))
    with triton():
        found = results(channel_grouping, *tensors)
    names = "d", "dpooled", "dw1", "db1", "dw2", "db2"
    for name, x, y, true in zip(names, found, own, truth, strict=True):
        assert x.shape == y.shape
        error, allowed = ((z.to(fp64) - true).abs().max() for z in (x, y))
        slack = 4 * torch.finfo(tensors[0].dtype).eps * true.abs().max() + 1e-7
        assert error <= allowed + slack, name


def test_equals_pairs_of_linear_layers():
    pooled, w1, b1, w2, b2 = (x.detach() for x in inputs(3, 6, 5, 2))
    pairs = [nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 6), nn.Sigmoid())] * 2
    expected = []
    for n, pair in enumerate(pairs):
        pair.load_state_dict(
            {"0.weight": w1[n], "0.bias": b1[n], "2.weight": w2[n], "2.bias": b2[n]}
        )
        expected.append(pair(pooled))
    assert_close(channel_grouping(pooled, w1, b1, w2, b2), torch.stack(expected, 1))


@pytest.mark.parametrize("dtype", [fp32, bf16, fp16])
@pytest.mark.parametrize(
    "shape", [(2, 1, 1, 1), (3, 96, 40, 4), (33, 20, 70, 2), (2, 130, 65, 7), (2, 512, 64, 1)]
)
def test_kernels_are_as_good_as_eager(shape, dtype, device, triton):
    assert_as_good_as_eager(inputs(*shape, dtype=dtype, device=device), triton)


def test_kernels_take_2048_channels(device, triton):
    assert_as_good_as_eager(inputs(2, 2048, 16, 2, dtype=bf16, device=device), triton)


def test_kernels_take_what_is_not_contiguous(device, triton):
    pooled, w1, b1, w2, b2 = (x.detach() for x in inputs(4, 40, 24, 4, device=device))
    views = (
        pooled[::2, ::2],
        w1.transpose(1, 2)[:, :20, :20],
        b1[:, ::1][:, 4:],
        w2[:, ::2, 4:],
        b2[:, ::2],
    )
    assert_as_good_as_eager([x.requires_grad_() for x in views], triton)


def test_two_runs_agree_to_the_bit(device, triton):
    tensors = inputs(5, 30, 20, 2, dtype=bf16, device=device)
    with triton():
        first, second = (results(channel_grouping, *tensors) for _ in range(2))
    assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("kernels", [False, True])
@pytest.mark.parametrize("dtype", [bf16, fp16])
def test_half_precision_features_go_with_float32_parameters(dtype, kernels, device, triton):
    tensors = inputs(4, 24, 16, 3, dtype=dtype, parameters=fp32, device=device)
    expected = results(eager, *(x.detach().to(fp32).requires_grad_() for x in tensors))
    with triton() if kernels else torch.enable_grad():
        found = results(channel_grouping, *tensors)
    assert [x.dtype for x in found] == [fp32, dtype, fp32, fp32, fp32, fp32]
    for x, y in zip(found, expected, strict=True):
        slack = 8 * torch.finfo(dtype).eps * y.abs().max().item()
        assert_close(x.to(fp32), y, rtol=0, atol=slack)


@pytest.mark.parametrize("kernels", [False, True])
@pytest.mark.parametrize("trained", ["features", "parameters"])
def test_each_half_of_the_alternation_has_its_gradients(trained, kernels, device, triton):
    tensors = inputs(3, 20, 12, 2, device=device)
    expected = results(channel_grouping, *tensors)
    for i, x in enumerate(tensors):
        x.requires_grad_((i == 0) == (trained == "features"))
    with triton() if kernels else torch.enable_grad():
        found = results(channel_grouping, *tensors)
    wanted = expected[1:2] if trained == "features" else expected[2:]
    assert_close(found[1:], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kernels", [False, True])
def test_an_empty_batch_has_zero_gradients(kernels, device, triton):
    tensors = inputs(0, 20, 12, 2, device=device)
    with triton() if kernels else torch.enable_grad():
        weights, grad_pooled, *grads = results(channel_grouping, *tensors)
    assert weights.shape == (0, 2, 20)
    assert grad_pooled.shape == (0, 20)
    assert all((grad == 0).all() for grad in grads)


@pytest.mark.parametrize("kernels", [False, True])
def test_saturated_weights_are_finite(kernels, device, triton):
    tensors = [x.detach() * 1000 for x in inputs(2, 20, 12, 2, device=device)]
    with triton() if kernels else torch.enable_grad():
        found = results(channel_grouping, *(x.requires_grad_() for x in tensors))
    assert all(x.isfinite().all() for x in found)


def test_reference_gradients_are_right():
    assert gradcheck(channel_grouping, inputs(2, 4, 3, 2, dtype=fp64))


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # opcheck looks at it
@pytest.mark.parametrize("kernels", [False, True])
@pytest.mark.parametrize(("dtype", "parameters"), [(fp32, fp32), (bf16, fp32)])
def test_registration_holds(dtype, parameters, kernels, device, triton):
    tensors = inputs(2, 5, 4, 3, dtype=dtype, parameters=parameters, device=device)
    with triton() if kernels else torch.enable_grad():
        opcheck(torch.ops.macnn.channel_grouping.default, tuple(tensors))


@pytest.mark.parametrize("kernels", [False, True])
def test_compiles_without_a_graph_break(kernels, device, triton):
    tensors = inputs(2, 5, 4, 3, device=device)
    compiled = torch.compile(channel_grouping, fullgraph=True, backend="aot_eager")
    with triton() if kernels else torch.enable_grad():
        expected = results(channel_grouping, *tensors)
        assert_close(results(compiled, *tensors), expected, rtol=1e-6, atol=1e-7)


@settings(deadline=None, max_examples=30)
@given(
    st.tuples(*(st.integers(1, 6) for _ in range(4))),
    st.randoms(use_true_random=False),
)
def test_permuting_parts_permutes_the_weights(shape, random):
    pooled, *parameters = inputs(*shape, dtype=fp64)
    order = random.sample(range(shape[3]), shape[3])
    weights = channel_grouping(pooled, *parameters)
    permuted = channel_grouping(pooled, *(x[order] for x in parameters))
    assert_close(permuted, weights[:, order])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pooled": (2, 8, 1)}, r"pooled: expected \(B, C\), got \(2, 8, 1\) float32"),
        ({"w1": (5, 8)}, r"w1: expected \(N, K, C\), got \(5, 8\)"),
        ({"w1": (3, 5, 9)}, r"w1: expected \(3, 5, 8\) .* got \(3, 5, 9\)"),
        ({"w1": (0, 5, 8)}, r"w1: expected \(N, K, C\), none of them 0, got \(0, 5, 8\)"),
        ({"b1": (3, 4)}, r"b1: expected \(3, 5\) .* got \(3, 4\)"),
        ({"w2": (3, 5, 8)}, r"w2: expected \(3, 8, 5\) .* got \(3, 5, 8\)"),
        ({"b2": (2, 8)}, r"b2: expected \(3, 8\) .* got \(2, 8\)"),
    ],
)
def test_bad_shapes_are_named(change, message):
    shapes = {"pooled": (2, 8), "w1": (3, 5, 8), "b1": (3, 5), "w2": (3, 8, 5), "b2": (3, 8)}
    with pytest.raises(ValueError, match=message):
        channel_grouping(**{name: torch.empty(shape) for name, shape in (shapes | change).items()})


def test_bad_dtypes_and_devices_are_named():
    pooled, w1, b1, w2, b2 = (x.detach() for x in inputs(2, 8, 5, 3))
    with pytest.raises(ValueError, match="pooled: expected a floating-point dtype"):
        channel_grouping(pooled.int(), w1, b1, w2, b2)
    with pytest.raises(ValueError, match=r"w2: expected the dtype of w1, .* got .*64"):
        channel_grouping(pooled, w1, b1, w2.double(), b2)
    with pytest.raises(ValueError, match="b2: on meta, but pooled is on cpu"):
        channel_grouping(pooled, w1, b1, w2, b2.to("meta"))


def test_cost_of_a_worked_case():
    # B 2, C 3, K 4, N 5: parameters 5 * (24 + 7), pooled 6, hidden 40, weights 30
    assert grouping_bytes(2, 3, 4, 5, 2) == 2 * (155 + 6 + 40) + 4 * 30
    assert grouping_bytes(2, 3, 4, 5, 2, backward=True) == 2 * (2 * 161 + 40) + 4 * 60
