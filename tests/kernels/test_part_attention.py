import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.library import opcheck
from torch.testing import assert_close

from macnn_kernels.part_attention import part_attention
from macnn_kernels.part_attention.op import attention_bytes

# numpy, which interprets the kernels, warns where exp overflows to the right limit
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")

fp64, fp32, bf16, fp16 = torch.float64, torch.float32, torch.bfloat16, torch.float16
NCHW, NHWC = torch.contiguous_format, torch.channels_last
PAPER = {"activation": "sigmoid", "power": 1.0}
RELEASE = {"activation": "softplus_tanh", "power": 4.0}


def inputs(B, C, H, W, N, *, dtype=fp32, layout=NCHW, device="cpu", compete=False):
    """Features as after a ReLU, channel weights, and a scale that keeps z near one."""
    generator = torch.Generator().manual_seed(C * H + N)
    features = torch.randn(B, C, H, W, generator=generator).relu()
    weights = torch.rand(B, N, C, generator=generator)
    options = {"scale": 2.0 / C**0.5}
    if compete:
        slope, offset = 1 + torch.rand(N, generator=generator), torch.randn(N, generator=generator)
        options["competition"] = torch.stack((slope, offset)).to(device)
    return (
        features.to(device, dtype, memory_format=layout).requires_grad_(),
        weights.to(device, dtype).requires_grad_(),
        options,
    )


def eager(features, weights, *, scale, activation="sigmoid", power=1.0, competition=None):
    """The formula as one would type it."""
    z = scale * torch.einsum("bnc,bchw->bnhw", weights, features)
    g = z.sigmoid() if activation == "sigmoid" else F.softplus(z.tanh())
    a = g**power
    if competition is not None:
        slope, offset = competition.to(z.dtype)[:, None, :, None, None]
        bids = (slope * z + offset).exp()
        a = a * bids / (1 + bids.sum(1, keepdim=True))
    attention = a / a.sum((2, 3), keepdim=True)
    return attention, torch.einsum("bnhw,bchw->bnc", attention, features)


def results(operator, features, weights, **options):
    """Outputs, and gradients for random cotangents."""
    attention, parts = operator(features, weights, **options)
    generator = torch.Generator().manual_seed(1)
    cotangents = [
        torch.randn(out.shape, generator=generator).to(out.device, out.dtype)
        for out in (attention, parts)
    ]
    grads = torch.autograd.grad((attention, parts), (features, weights), cotangents)
    return [x.detach() for x in (attention, parts, *grads)]


def assert_as_good_as_eager(features, weights, triton, **options):
    """Against float64 the kernels err no more than eager PyTorch in that dtype, and a little."""
    own = results(eager, features, weights, **options)
    wide = [x.detach().to(fp64).requires_grad_() for x in (features, weights)]
    truth = results(eager, *wide, **options)
    with triton():
        found = results(part_attention, features, weights, **options)
    for name, x, y, true in zip(("attention", "parts", "dF", "dd"), found, own, truth, strict=True):
        assert x.shape == y.shape
        error, allowed = ((z.to(fp64) - true).abs().max() for z in (x, y))
        slack = 2 * torch.finfo(features.dtype).eps * true.abs().max() + 1e-6
        assert error <= allowed + slack, name


def test_maps_of_a_worked_case():
    features = torch.tensor([0.0, 3.0]).log1p().view(1, 1, 1, 2)  # sigmoid: 1/2 and 4/5
    attention, parts = part_attention(features, torch.ones(1, 1, 1), scale=1.0)
    assert_close(attention.flatten(), torch.tensor([5 / 13, 8 / 13]))
    assert_close(parts.flatten(), torch.tensor([8 / 13]) * torch.tensor(4.0).log())


def test_released_form_of_a_worked_case():
    features = torch.tensor([0.0, 100.0]).view(1, 1, 1, 2)  # tanh: 0 and 1
    attention, _ = part_attention(features, torch.ones(1, 1, 1), scale=1.0, **RELEASE)
    g = torch.tensor([2.0, 1 + torch.e]).log() ** 4
    assert_close(attention.flatten(), g / g.sum())


@pytest.mark.parametrize("layout", [NCHW, NHWC])
@pytest.mark.parametrize("dtype", [fp32, bf16])
@pytest.mark.parametrize(
    ("shape", "form"),
    [
        ((2, 1, 1, 1, 1), PAPER),
        ((2, 96, 7, 7, 4), RELEASE),
        ((1, 512, 13, 13, 7), PAPER),
        ((1, 96, 27, 28, 2), PAPER),
        ((1, 5, 56, 56, 1), RELEASE),
        ((1, 2048, 7, 7, 4), PAPER),
    ],
)
@pytest.mark.parametrize("compete", [False, True])
def test_kernels_are_as_good_as_eager(shape, form, dtype, layout, compete, device, triton):
    features, weights, options = inputs(
        *shape, dtype=dtype, layout=layout, device=device, compete=compete
    )
    assert_as_good_as_eager(features, weights, triton, **options, **form)


@pytest.mark.parametrize("shape", [(2, 96, 7, 7, 4), (1, 600, 5, 5, 16)])
def test_kernels_take_float16(shape, device, triton):
    features, weights, options = inputs(*shape, dtype=fp16, device=device)
    assert_as_good_as_eager(features, weights, triton, **options, **RELEASE)


def test_kernels_take_what_is_not_contiguous(device, triton):
    features, weights, options = inputs(2, 40, 9, 14, 3, dtype=bf16, device=device)
    views = {
        "channels": features[:, ::2],
        "positions": features[:, :20, ::2, 1:],
        "batch": features[:1, :20].expand(2, -1, -1, -1),
        "transposed": features[:, :20].transpose(2, 3),
    }
    for view in views.values():
        x = view.detach().requires_grad_()
        d = weights.detach()[:, :, ::2].requires_grad_()
        assert x.shape[1] == d.shape[2] == 20
        assert_as_good_as_eager(x, d, triton, **options)


@pytest.mark.parametrize("programs", [1, 2, 64])
def test_positions_may_be_shared_among_any_number_of_programs(
    programs, device, triton, monkeypatch
):
    from macnn_kernels.part_attention import tiling

    monkeypatch.setattr(tiling, "PROGRAMS", programs)
    features, weights, options = inputs(1, 200, 14, 15, 4, dtype=bf16, device=device)
    assert_as_good_as_eager(features, weights, triton, **options, power=3.0)


def test_two_runs_agree_to_the_bit(device, triton):
    features, weights, options = inputs(2, 96, 13, 13, 4, dtype=bf16, device=device, compete=True)
    with triton():
        first, second = (results(part_attention, features, weights, **options) for _ in range(2))
    assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [fp32, bf16])  # streamed and resident
@pytest.mark.parametrize("chosen", ["attention", "parts"])
def test_each_output_has_its_own_gradient(chosen, dtype, device, triton):
    features, weights, options = inputs(2, 20, 5, 6, 3, dtype=dtype, device=device, compete=True)

    def gradients(**needs):
        x, d = (t.detach().requires_grad_(needs[n]) for n, t in named.items())
        out = getattr(part_attention(x, d, **options), chosen)
        (out * torch.linspace(-1, 1, out.numel(), device=device).view_as(out)).sum().backward()
        return x.grad, d.grad

    named = {"features": features, "weights": weights}
    expected = gradients(features=True, weights=True)
    with triton():
        both = gradients(features=True, weights=True)
        only_features = gradients(features=True, weights=False)
        only_weights = gradients(features=False, weights=True)
    for found, true in zip(both, expected, strict=True):
        assert_close(
            found, true, rtol=0, atol=32 * torch.finfo(dtype).eps * true.abs().max().item()
        )
    assert_close(only_features[0], both[0], rtol=0, atol=0)
    assert_close(only_weights[1], both[1], rtol=0, atol=0)
    assert only_features[1] is only_weights[0] is None


@pytest.mark.parametrize("layout", [NCHW, NHWC])
def test_the_gradient_has_the_layout_of_the_features(layout, device, triton):
    features, weights, options = inputs(2, 8, 3, 5, 2, layout=layout, device=device)
    for context in (triton(), torch.enable_grad()):
        with context:
            grad = results(part_attention, features, weights, **options)[2]
        assert grad.stride() == features.stride()


@pytest.mark.parametrize("dtype", [fp32, bf16])
def test_weights_may_have_another_dtype_than_half_precision_features(dtype, device, triton):
    features, weights, options = inputs(1, 24, 4, 4, 2, dtype=bf16, device=device)
    d = weights.detach().to(dtype).requires_grad_()
    expected = results(part_attention, features, d, **options)
    with triton():
        found = results(part_attention, features, d, **options)
    assert [x.dtype for x in found] == [fp32, fp32, bf16, dtype]
    assert_close(found, expected, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("kernels", [False, True])
def test_an_empty_batch_gives_empty_results(kernels, device, triton):
    features, weights, options = inputs(0, 8, 3, 3, 2, device=device)
    with triton() if kernels else torch.enable_grad():
        attention, parts, *grads = results(part_attention, features, weights, **options)
    assert attention.shape == (0, 2, 3, 3)
    assert parts.shape == (0, 2, 8)
    assert [grad.shape for grad in grads] == [features.shape, weights.shape]


@pytest.mark.parametrize("kernels", [False, True])
@pytest.mark.parametrize("scale", [-300.0, 300.0])
@pytest.mark.parametrize("compete", [False, True])
def test_maps_sum_to_one_where_the_activation_underflows(scale, compete, kernels, device, triton):
    features, weights, options = inputs(1, 40, 9, 9, 3, dtype=bf16, device=device, compete=compete)
    options["scale"] = scale
    with triton() if kernels else torch.enable_grad():
        found = results(part_attention, features, weights, power=16.0, **options)
    assert_close(found[0].sum((2, 3)), torch.ones(1, 3, device=device))
    assert all(x.isfinite().all() for x in found)


@pytest.mark.parametrize("kernels", [False, True])
def test_what_is_not_finite_propagates(kernels, device, triton):
    features, weights, options = inputs(2, 8, 3, 3, 2, dtype=bf16, device=device)
    with torch.no_grad():
        features[1, 3, 0, 2] = float("nan")
    with triton() if kernels else torch.enable_grad():
        attention, parts = part_attention(features, weights, **options)
    assert attention[0].isfinite().all()
    assert parts[0].isfinite().all()
    assert attention[1].isnan().all()
    assert parts[1].isnan().all()


@pytest.mark.parametrize("layout", [NCHW, NHWC])
@pytest.mark.parametrize("compete", [False, True])
@pytest.mark.parametrize("form", [PAPER, RELEASE, {"activation": "sigmoid", "power": 16.0}])
def test_reference_gradients_are_right(form, compete, layout):
    features, weights, options = inputs(1, 4, 2, 3, 2, dtype=fp64, layout=layout, compete=compete)
    assert gradcheck(lambda *x: part_attention(*x, **options, **form), (features, weights))


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # opcheck looks at it
@pytest.mark.parametrize("kernels", [False, True])
@pytest.mark.parametrize(("dtype", "layout"), [(fp32, NCHW), (bf16, NHWC)])
def test_registration_holds(dtype, layout, kernels, device, triton):
    features, weights, options = inputs(
        2, 6, 3, 4, 2, dtype=dtype, layout=layout, device=device, compete=True
    )
    with triton() if kernels else torch.enable_grad():
        for competition in (None, options["competition"]):
            given = (features, weights, competition, 0.5, "sigmoid", 2.0)
            opcheck(torch.ops.macnn.part_attention.default, given)


@pytest.mark.parametrize("kernels", [False, True])
def test_compiles_without_a_graph_break(kernels, device, triton):
    features, weights, options = inputs(2, 6, 3, 4, 2, layout=NHWC, device=device, compete=True)
    compiled = torch.compile(part_attention, fullgraph=True, backend="aot_eager")
    with triton() if kernels else torch.enable_grad():
        expected = results(part_attention, features, weights, **options)
        found = results(compiled, features, weights, **options)
    assert_close(found, expected, rtol=1e-6, atol=1e-7)


sizes = st.tuples(*(st.integers(1, high) for high in (2, 6, 5, 5, 4)))


@settings(deadline=None, max_examples=30)
@given(sizes, st.randoms(use_true_random=False), st.sampled_from([PAPER, RELEASE]))
def test_permuting_parts_permutes_the_outputs(shape, random, form):
    features, weights, options = inputs(*shape, dtype=fp64, compete=True)
    order = random.sample(range(shape[-1]), shape[-1])
    attention, parts = part_attention(features, weights, **options, **form)
    options["competition"] = options["competition"][:, order]
    permuted = part_attention(features, weights[:, order], **options, **form)
    assert_close(permuted, (attention[:, order], parts[:, order]))


@settings(deadline=None, max_examples=30)
@given(sizes, st.floats(-3, 3), st.sampled_from([PAPER, RELEASE]))
def test_constant_features_give_constant_maps(shape, level, form):
    features, weights, options = inputs(*shape, dtype=fp64)
    features = torch.full_like(features, level)
    attention, parts = part_attention(features, weights, **options, **form)
    assert_close(attention, torch.full_like(attention, 1 / (shape[2] * shape[3])))
    assert_close(parts, torch.full_like(parts, level))


@settings(deadline=None, max_examples=30)
@given(sizes, st.floats(0.1, 10), st.sampled_from([PAPER, RELEASE]))
def test_the_scale_absorbs_that_of_the_features(shape, factor, form):
    features, weights, options = inputs(*shape, dtype=fp64)
    attention, parts = part_attention(features, weights, **options, **form)
    found = part_attention(factor * features, weights, scale=options["scale"] / factor, **form)
    assert_close(found, (attention, factor * parts))


@settings(deadline=None, max_examples=30)
@given(sizes, st.sampled_from([PAPER, RELEASE]))
def test_a_background_that_always_wins_leaves_the_product_of_activation_and_bid(shape, form):
    features, weights, options = inputs(*shape, dtype=fp64, compete=True)
    options["competition"][1] -= 50
    attention, _ = part_attention(features, weights, **options, **form)
    slope = options.pop("competition")[0].double()
    alone, _ = part_attention(features, weights, **options, **form)
    z = options["scale"] * torch.einsum("bnc,bchw->bnhw", weights, features)
    expected = alone * (slope[:, None, None] * z).exp()
    assert_close(attention, expected / expected.sum((2, 3), keepdim=True))


def test_where_parts_meet_the_one_that_answers_more_keeps_the_place():
    features = torch.tensor([[2.9, 3.0], [0.0, 3.3]]).view(1, 2, 1, 2)
    given = features, torch.eye(2)[None]
    competition = torch.tensor([[9.0, 9.0], [0.0, 0.0]])
    both, _ = part_attention(*given, scale=1.0, power=8.0)
    assert both.flatten(2).argmax(2).tolist() == [[1, 1]]
    apart, _ = part_attention(*given, scale=1.0, power=8.0, competition=competition)
    assert apart.flatten(2).argmax(2).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("features", "weights", "options", "message"),
    [
        ((2, 8, 3), (2, 4, 8), {}, r"features: expected \(B, C, H, W\), got \(2, 8, 3\) float32"),
        ((2, 8, 3, 3), (4, 8), {}, r"weights: expected \(B, N, C\), got \(4, 8\) float32"),
        ((2, 8, 3, 3), (2, 4, 9), {}, r"weights: expected \(2, 4, 8\) .* got \(2, 4, 9\)"),
        ((2, 8, 3, 3), (3, 4, 8), {}, r"weights: expected \(2, 4, 8\) .* got \(3, 4, 8\)"),
        ((2, 8, 3, 3), (2, 0, 8), {}, r"weights: .* N from 1 to 16, got \(2, 0, 8\)"),
        ((2, 8, 3, 3), (2, 17, 8), {}, r"weights: .* N from 1 to 16, got \(2, 17, 8\)"),
        ((2, 8, 0, 3), (2, 4, 8), {}, r"features: .* only B may be 0, got \(2, 8, 0, 3\)"),
        ((2, 8, 3, 3), (2, 4, 8), {"activation": "relu"}, "activation: .* got 'relu'"),
        ((2, 8, 3, 3), (2, 4, 8), {"power": 0.0}, "power: expected a positive number, got 0.0"),
        ((2, 8, 3, 3), (2, 4, 8), {"power": float("nan")}, "power: .* got nan"),
        (
            (2, 8, 3, 3),
            (2, 4, 8),
            {"competition": torch.zeros(4, 2)},
            r"competition: expected \(2, 4\) .* got \(4, 2\)",
        ),
        (
            (2, 8, 3, 3),
            (2, 4, 8),
            {"competition": torch.zeros(2, 4, requires_grad=True)},
            "competition: expected a tensor without gradient",
        ),
    ],
)
def test_bad_input_is_named(features, weights, options, message):
    with pytest.raises(ValueError, match=message):
        part_attention(torch.empty(features), torch.empty(weights), scale=1.0, **options)


def test_bad_dtypes_and_devices_are_named():
    features, weights = torch.empty(2, 8, 3, 3), torch.empty(2, 4, 8)
    with pytest.raises(ValueError, match="features: expected a floating-point dtype"):
        part_attention(features.int(), weights, scale=1.0)
    with pytest.raises(ValueError, match="weights: expected a floating-point dtype"):
        part_attention(features, weights.bool(), scale=1.0)
    with pytest.raises(ValueError, match="weights: on meta, but features is on cpu"):
        part_attention(features, weights.to("meta"), scale=1.0)


def test_cost_of_a_worked_case():
    # features 2 * 3 * 4 * 5 of two bytes; maps 2 * 2 * 20 and vectors 2 * 2 * 3 of four
    assert attention_bytes(2, 3, 4, 5, 2, 2) == 240 + 2 * 320 + 2 * 48
    assert attention_bytes(2, 3, 4, 5, 2, 2, backward=True) == 480 + 3 * 320 + 4 * 48
    frozen = attention_bytes(2, 3, 4, 5, 2, 2, backward=True, needs_features=False)
    assert frozen == 240 + 3 * 320 + 4 * 48
