"""Where the cells of a network's map look, measured by running it on ramps.

Every layer is replaced by the mean of what it sees: a convolution by the mean of its window, a
pooling too, attention by a token's look at itself; activations let everything pass. Such a network
gives a cell the mean position of its pixels, if the image is a ramp from left to right. Beyond the
edges the ramp goes on: with zeros there, cells near the edge would seem to lie further inside.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from macnn.model.modes import evaluating

STEP = 1e-4  # products of features are not linear; a small difference of two images is
PASSING = {
    *("relu", "relu_", "relu6", "hardtanh", "hardtanh_", "leaky_relu", "leaky_relu_", "prelu"),
    *("elu", "elu_", "selu", "celu", "gelu", "silu", "silu_", "mish", "hardswish", "hardswish_"),
    *("softplus", "tanh", "clamp", "clamp_", "dropout", "neg"),  # neg: of split signs
}
NORMS = {"batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm"}
GATES = {"sigmoid", "sigmoid_", "hardsigmoid", "hardsigmoid_"}
SUMS = {"__add__": torch.add, "__iadd__": torch.add, "add": torch.add, "add_": torch.add}
PRODUCTS = {"__mul__": torch.mul, "__imul__": torch.mul, "mul": torch.mul, "mul_": torch.mul}


@torch.no_grad()
def cell_centres(
    features: Callable[[Tensor], Tensor], network: nn.Module, image_size: int
) -> tuple[Tensor, Tensor]:
    """X and y of every cell's centre, (H, W) float64 each, in pixels of square images.

    Args:
        features: what gives the map (B, C, H, W) of images (B, 3, S, S).
        network: what it runs.
        image_size: S.

    Raises:
        Exception: whatever the network does with this.
    """
    across = (torch.arange(image_size, dtype=torch.float64) + 0.5) / image_size
    flat = torch.ones(3, image_size, image_size, dtype=torch.float64)
    ramps = (flat, across.expand_as(flat), across[:, None].expand_as(flat))
    images = torch.stack([flat + sign * STEP * ramp for ramp in ramps for sign in (1, -1)])
    device = next((t.device for t in network.parameters()), torch.device("cpu"))
    with evaluating(network), _Means():
        answers = features(images.to(device)).mean(dim=1).cpu()
    whole, x, y = (answers[i] - answers[i + 1] for i in (0, 2, 4))
    return x / whole * image_size, y / whole * image_size


class _Means(TorchFunctionMode):
    """Functions of PyTorch that layers call take means instead."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function, or what stands for it; functions are told by their names."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if stand_in := STAND_INS.get(name):
            return stand_in(*args, **kwargs)
        if name == "softmax" and args[0].dim() > 2 and args[0].shape[-1] == args[0].shape[-2]:
            itself = torch.eye(args[0].shape[-1], device=args[0].device)
            return itself.to(args[0]).expand_as(args[0])
        if name in PASSING:
            return args[0]
        if name in GATES:
            return torch.ones_like(args[0])
        if name in NORMS:  # keeps numbers in range; one factor for all images
            return _alike(torch.div, args[0], args[0].abs().mean())
        if operation := (SUMS | PRODUCTS).get(name):
            return _alike(operation, *args)
        try:
            return func(*args, **kwargs)
        except RuntimeError:  # a layer's own weights are single, the ramps are double
            double = (
                a.double() if isinstance(a, Tensor) and a.is_floating_point() else a for a in args
            )
            return func(*double, **kwargs)


def _one(x: Tensor) -> Tensor:
    """One channel (B, 1, H, W), the mean of all; all are the same after a convolution."""
    return x[:, :1] if x.stride(1) == 0 else x.mean(dim=1, keepdim=True)


def _alike(operation: Callable[..., Any], x: Any, y: Any, **_: Any) -> Any:
    """An operation on maps whose channels are all the same: it is done once."""
    tensors = [t for t in (x, y) if isinstance(t, Tensor) and t.dim()]
    if all(t.dim() == 4 and t.shape == tensors[0].shape and t.stride(1) == 0 for t in tensors):
        one = [t[:, :1] if isinstance(t, Tensor) and t.dim() else t for t in (x, y)]
        return operation(*one).expand_as(tensors[0])
    return operation(x, y)


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    window, dilation = tuple(weight.shape[2:]), _pair(dilation)
    sees = [d * (k - 1) for k, d in zip(window, dilation, strict=True)]
    match padding:
        case "same":
            edges = [(seen // 2, seen - seen // 2) for seen in sees]
        case "valid":
            edges = [(0, 0), (0, 0)]
        case _:
            edges = [(edge, edge) for edge in _pair(padding)]
    return _mean(x, window, _pair(stride), edges, dilation).expand(-1, len(weight), -1, -1)


def _max_pooling(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    window, dilation, edges = _pair(kernel_size), _pair(dilation), []
    steps = _pair(stride or window)
    for size, k, s, e, d in zip(x.shape[2:], window, steps, _pair(padding), dilation, strict=True):
        room = size + 2 * e - d * (k - 1) - 1
        up = -(-room // s) * s  # where the last window begins, if it may end beyond the edge
        edges.append((e, e + up - room if ceil_mode and up < size + e else e))
    return _mean(x, window, steps, edges, dilation).expand(-1, x.shape[1], -1, -1)


def _average_pooling(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    *_: Any,
) -> Tensor:
    return _max_pooling(x, kernel_size, stride, padding, 1, ceil_mode)


def _mean(
    x: Tensor,
    window: tuple[int, ...],
    stride: tuple[int, ...],
    edges: list[tuple[int, int]],
    dilation: tuple[int, ...],
) -> Tensor:
    """What windows see on average (B, 1, H', W'), with `edges` cells more on each side."""
    share = torch.full((1, 1, *window), 1 / math.prod(window), dtype=x.dtype, device=x.device)
    return F.conv2d(_extended(_one(x), (*edges[1], *edges[0])), share, None, stride, 0, dilation)


def _linear(x: Tensor, weight: Tensor, *_: Any, **__: Any) -> Tensor:
    return x.mean(dim=-1, keepdim=True).expand(*x.shape[:-1], len(weight))


def _concatenation(tensors: Any, dim: int = 0, **_: Any) -> Tensor:
    parts = list(tensors)
    if dim == 1 and all(t.dim() == 4 and t.stride(1) == 0 for t in parts):
        channels = sum(t.shape[1] for t in parts)
        whole = torch.cat([t[:, :1] * t.shape[1] for t in parts], 1).sum(1, keepdim=True)
        return (whole / channels).expand(-1, channels, -1, -1)  # type: ignore[no-any-return]
    return torch.cat(parts, dim)


def _extended(x: Tensor, pad: Any, *_: Any, **__: Any) -> Tensor:
    """As `torch.nn.functional.pad`, but what is linear goes on beyond the edges."""
    for axis, (before, after) in enumerate(zip(pad[::2], pad[1::2], strict=True)):
        dim = x.dim() - 1 - axis
        size = x.shape[dim]
        if before < 0 or after < 0:
            x = x.narrow(dim, max(-before, 0), size + min(before, 0) + min(after, 0))
            size = x.shape[dim]
        if before <= 0 and after <= 0:
            continue
        first, last = x.narrow(dim, 0, 1), x.narrow(dim, size - 1, 1)
        rise = (last - first) / max(size - 1, 1)
        x = torch.cat(
            [first - rise * k for k in range(max(before, 0), 0, -1)]
            + [x]
            + [last + rise * k for k in range(1, max(after, 0) + 1)],
            dim,
        )
    return x


def _own_value(query: Tensor, _key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
    if query.shape[:-1] == value.shape[:-1]:
        return value
    # The values of other, fewer tokens say nothing of where this one is.
    return value.new_zeros(*query.shape[:-1], value.shape[-1])


def _pair(value: Any) -> Any:
    return tuple(value) * (2 // len(value)) if isinstance(value, tuple | list) else (value, value)


STAND_INS: dict[str, Callable[..., Any]] = {
    "conv2d": _convolution,
    "linear": _linear,
    "max_pool2d": _max_pooling,
    "avg_pool2d": _average_pooling,
    "pad": _extended,
    "cat": _concatenation,
    "concat": _concatenation,
    "scaled_dot_product_attention": _own_value,
    "multi_head_attention_forward": lambda *args, **kwargs: (_own_value(*args, **kwargs), None),
    "_native_multi_head_attention": lambda *args, **kwargs: (_own_value(*args, **kwargs), None),
}
"""What stands for functions that see a window or other tokens."""
