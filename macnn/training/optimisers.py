"""Optimisers of the two phases, and the rates at any point of training."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from macnn.config.training import TrainSettings
from macnn.errors import UsageError
from macnn.model import Network


def grouping_optimiser(network: Network, settings: TrainSettings) -> Optimizer:
    """Adam over the grouping layers."""
    assert network.grouping is not None, "the baseline has no grouping layers"
    return Adam(network.grouping.parameters(), settings.grouping_lr, fused=True)


def convolution_optimiser(network: nn.Module, settings: TrainSettings) -> SGD:
    """SGD over all convolutions, at their share of the base rate, and all classifiers.

    Grouping layers, fixed in this phase, and whatever is never trained are left out.
    `--layer-lr-scales` has the last word.

    Raises:
        UsageError: a layer rate that fits no parameter, or is none.
    """
    factors = layer_factors(
        settings.layer_lr_scales, [name for name, _ in network.named_parameters()]
    )
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if name.startswith("grouping.") or not parameter.requires_grad:
            continue
        convolution = not name.startswith("classifiers.")
        factor = settings.backbone_lr_scale if convolution else 1.0
        for prefix, further in factors:
            if name.startswith(prefix):
                factor *= further
                break
        groups.setdefault((convolution, factor), []).append(parameter)
    return SGD(
        [
            {"params": parameters, "base": settings.lr * factor, "warms_up": convolution}
            for (convolution, factor), parameters in groups.items()
        ],
        lr=settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def layer_factors(text: str, names: Iterable[str]) -> list[tuple[str, float]]:
    """Read PREFIX=FACTOR,... into pairs, longest prefix first.

    Raises:
        UsageError: not of this form, or a prefix that fits no name.
    """
    names, pairs = list(names), []
    for part in filter(None, text.split(",")):
        prefix, _, factor = part.partition("=")
        try:
            pairs.append((prefix.strip(), float(factor)))
        except ValueError:
            raise UsageError(f"--layer-lr-scales {part}: expected PREFIX=FACTOR") from None
        if not 0 <= pairs[-1][1] < math.inf:
            raise UsageError(f"--layer-lr-scales {part}: expected a factor of 0 or more")
        if not any(name.startswith(prefix.strip()) for name in names):
            raise UsageError(
                f"--layer-lr-scales {part}: no parameter starts so", hint=f"one is {names[0]}"
            )
    return sorted(pairs, key=lambda pair: -len(pair[0]))


def set_rates(optimiser: SGD, done: float, settings: TrainSettings) -> None:
    """The rates when a share `done` in [0, 1] of all steps is behind.

    The convolutions' rates rise over the share `warmup` of all steps, so that classifiers that
    know nothing yet do not spoil trained features.
    """
    fall = {
        "cosine": 0.5 * (1 + math.cos(math.pi * done)),
        "step": 0.1 ** int(3 * done),
        "constant": 1.0,
    }[settings.schedule]
    rise = min(1.0, done / settings.warmup) if settings.warmup else 1.0
    for group in optimiser.param_groups:
        group["lr"] = group["base"] * fall * (rise if group["warms_up"] else 1.0)


def optimiser_tensors(optimiser: Optimizer) -> dict[str, Tensor]:
    """The state of an optimiser, by number of the parameter and name; rates are none of it."""
    state: dict[int, dict[str, Tensor]] = optimiser.state_dict()["state"]
    return {f"{i}.{key}": value for i, values in state.items() for key, value in values.items()}


def expected_tensors(optimiser: Optimizer) -> dict[str, Tensor]:
    """Tensors of the names, shapes and types that `optimiser_tensors` gives after a step."""
    like: dict[str, Tensor] = {}
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for i, parameter in enumerate(parameters):
        if isinstance(optimiser, Adam):
            like[f"{i}.step"] = torch.empty(())
            like |= {f"{i}.{key}": parameter for key in ("exp_avg", "exp_avg_sq")}
        elif optimiser.defaults["momentum"]:
            like[f"{i}.momentum_buffer"] = parameter
    return like


def load_optimiser(optimiser: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Continue from `optimiser_tensors`, which must be as `expected_tensors`, or none yet."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".")
        like = parameters[int(index)]
        if value.shape == like.shape:  # fused steps need the memory format of the parameter
            value = torch.empty_like(like).copy_(value)
        state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
