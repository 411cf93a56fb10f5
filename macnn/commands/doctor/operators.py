"""Self-test of the operators: as they run here, against the reference in float64."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

import macnn_kernels as kernels
from macnn.commands.doctor.finding import Finding

B, C, H, W, N = 3, 64, 14, 14, 4
TOLERANCE = 1e-2  # of the largest value: tensor cores may round a float32 factor to 10 bits
Operator = Callable[..., tuple[Tensor, ...]]


def check_operators(device: torch.device) -> list[Finding]:
    """Run every operator forward, and backward where it has one; one finding for each."""
    return [_check(name, operator, inputs, device) for name, (operator, inputs) in _cases().items()]


def _cases() -> dict[str, tuple[Operator, tuple[Tensor, ...]]]:
    """Each operator with inputs in float64; those that are floating are differentiated."""
    draw = torch.Generator().manual_seed(0)
    uniform = partial(torch.rand, generator=draw, dtype=torch.float64)
    features = uniform(B, C, H, W)
    positions = torch.randint(H, (2, 50, C), generator=draw)
    positions[..., : C // 2] //= 4  # two groups of channels to tell apart
    x, y = positions.int()
    gram = kernels.peak_gram(kernels.Peaks(x, y, x))
    layers = ((N, C, C), (N, C), (N, C, C), (N, C))
    return {
        "channel_peaks": (lambda f: tuple(kernels.channel_peaks(f.detach())), (features,)),
        "peak_gram": (lambda x, y: (kernels.peak_gram(kernels.Peaks(x, y, x)),), (x, y)),
        "cluster_channels": (lambda g: (kernels.cluster_channels(g, 2).inertia,), (gram,)),
        "channel_grouping": (
            lambda *a: (kernels.channel_grouping(*a),),
            (uniform(B, C), *(uniform(*shape) - 0.5 for shape in layers)),
        ),
        "part_attention": (
            lambda f, w: tuple(kernels.part_attention(f, w, scale=C**-0.5)),
            (features, uniform(B, N, C)),
        ),
        "grouping_loss": (
            lambda m: tuple(kernels.grouping_loss(m)),
            (uniform(B, N, H * W).softmax(2).view(B, N, H, W),),
        ),
    }


def _check(
    name: str, operator: Operator, inputs: tuple[Tensor, ...], device: torch.device
) -> Finding:
    # float32 values, so that both sides start from the same ones
    rounded = [v.float().double() if v.is_floating_point() else v for v in inputs]
    here = [v.to(device, torch.float32 if v.is_floating_point() else v.dtype) for v in rounded]
    try:
        found, differentiable = _run(operator, here)
        truth, _ = _run(operator, rounded)
        error = max(_difference(f, t) for f, t in zip(found, truth, strict=True))
    except Exception as problem:  # whatever a broken compiler or driver raises
        reason = " ".join(str(problem).split())[:200]
        return _broken(name, f"{type(problem).__name__}: {reason}")
    if not error <= TOLERANCE:
        return _broken(name, f"off by {error:.2g} of the largest value")
    passes = "forward and backward" if differentiable else "forward"
    return Finding(name, True, f"{passes} within {error:.1g} of float64")


def _broken(name: str, text: str) -> Finding:
    return Finding(name, False, text, "use `run.kernels=reference`, and report this")


def _run(operator: Operator, inputs: list[Tensor]) -> tuple[list[Tensor], bool]:
    """Outputs, then the gradients of their weighted sum; and whether there are any."""
    leaves = [v.clone().requires_grad_(v.is_floating_point()) for v in inputs]
    outputs = operator(*leaves)
    smooth = [out for out in outputs if out.requires_grad]
    results = [out.detach() for out in outputs]
    if smooth:
        weights = [torch.linspace(-1, 1, o.numel()).to(o).view(o.shape) for o in smooth]
        results += torch.autograd.grad(smooth, leaves, weights)
    return results, bool(smooth)


def _difference(found: Tensor, truth: Tensor) -> float:
    found, truth = found.double().cpu(), truth.double()
    return ((found - truth).abs().max() / truth.abs().max().clamp_min(1e-30)).item()
