"""Optimisers of the two phases, and their learning rates at any point of training."""

import math
from collections.abc import Iterable, Mapping
from copy import deepcopy
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from macnn import defaults
from macnn.errors import UsageError
from macnn.model import PartModel
from macnn.text import shown

OF_GROUPS = {"params", "base", "warms_up", "lr"}
GROUP = "group "
NUMBER = torch.float64  # of numbers in a state that are no tensors; parameters are never of it


def grouping_optimiser(model: PartModel, lr: float = defaults.GROUPING_LR) -> Adam:
    """Adam over the grouping layers."""
    return Adam(model.grouping.parameters(), lr, fused=True)


def feature_optimiser(
    model: nn.Module,
    optimizer: str = defaults.OPTIMIZER,
    rates: defaults.Rates | None = None,
    *,
    layer_lr_scales: str = "",
    momentum: float = defaults.MOMENTUM,
) -> Optimizer:
    """An optimizer of the classifiers, and of everything else at a share of their learning rate.

    Grouping layers, fixed in this phase, and whatever is never trained are left out.

    Args:
        model: to train.
        optimizer: "sgd", "adamw", or "timm/NAME".
        rates: learning rates and weight decay; by default those usual for the optimizer.
        layer_lr_scales: further factors as PREFIX=FACTOR,...; see `lr_scales`.
        momentum: of SGD.

    Raises:
        UsageError: a factor that fits no parameter, or is none; an unknown optimizer, or timm is
            missing.
    """
    lr, scale, weight_decay = rates or defaults.RATES.get(optimizer, defaults.RATES["adamw"])
    factors = lr_scales(layer_lr_scales, [name for name, _ in model.named_parameters()])
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if name.startswith("grouping.") or not parameter.requires_grad:
            continue
        backbone = not name.startswith("classifiers.")
        factor = scale if backbone else 1.0
        for prefix, further in factors:
            if name.startswith(prefix):
                factor *= further
                break
        groups.setdefault((backbone, factor), []).append(parameter)
    trained: list[dict[str, Any]] = [
        {"params": parameters, "base": lr * factor, "warms_up": backbone}
        for (backbone, factor), parameters in groups.items()
    ]
    if optimizer == "sgd":
        return SGD(trained, lr, momentum=momentum, weight_decay=weight_decay, fused=True)
    if optimizer == "adamw":
        return AdamW(trained, lr, weight_decay=weight_decay, fused=True)
    return _of_timm(optimizer.removeprefix("timm/"), trained, lr, weight_decay)


def _of_timm(name: str, trained: list[dict[str, Any]], lr: float, weight_decay: float) -> Optimizer:
    if find_spec("timm") is None:
        raise UsageError("timm: not installed", hint="pip install 'macnn[timm]'")
    from timm.optim import create_optimizer_v2, list_optimizers  # type: ignore[attr-defined]

    if name not in (known := list_optimizers()):
        close = get_close_matches(name, known, n=1)
        raise UsageError(
            f"`train.optimizer` timm/{shown(name, 100)}: timm has no such optimizer",
            hint=f"did you mean 'timm/{close[0]}'?"
            if close
            else "see timm.optim.list_optimizers()",
        )
    optimiser: Optimizer = create_optimizer_v2(trained, name, lr=lr, weight_decay=weight_decay)
    return optimiser


def lr_scales(text: str, names: Iterable[str]) -> list[tuple[str, float]]:
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
            raise UsageError(f"`train.layer_lr_scales` {part}: expected PREFIX=FACTOR") from None
        if not 0 <= pairs[-1][1] < math.inf:
            raise UsageError(f"`train.layer_lr_scales` {part}: expected a factor of 0 or more")
        if not any(name.startswith(prefix.strip()) for name in names):
            raise UsageError(
                f"`train.layer_lr_scales` {part}: no parameter starts so", hint=f"one is {names[0]}"
            )
    return sorted(pairs, key=lambda pair: -len(pair[0]))


def set_lr(
    optimiser: Optimizer, done: float, *, schedule: defaults.Schedule, warmup: float
) -> None:
    """Set the learning rates for when a share `done` in [0, 1] of all steps is behind.

    The backbone's rises over the share `warmup` of all steps, so that classifiers that know
    nothing yet do not spoil trained features.
    """
    fall = {
        "cosine": 0.5 * (1 + math.cos(math.pi * done)),
        "step": 0.1 ** int(3 * done),
        "constant": 1.0,
    }[schedule]
    rise = min(1.0, done / warmup) if warmup else 1.0
    for group in optimiser.param_groups:
        group["lr"] = group["base"] * fall * (rise if group["warms_up"] else 1.0)


def optimiser_state(optimiser: Optimizer) -> dict[str, Tensor]:
    """What an optimiser remembers, by number of the parameter, or of its group, and name.

    Learning rates are none of it: they follow from the position.
    """
    state: dict[int, dict[str, Any]] = optimiser.state_dict()["state"]
    values = {f"{i}.{key}": value for i, own in state.items() for key, value in own.items()}
    for i, group in enumerate(optimiser.param_groups):  # some count their steps there
        own = group.keys() - optimiser.defaults.keys() - OF_GROUPS
        values |= {f"{GROUP}{i}.{key}": group[key] for key in sorted(own)}
    return {
        name: value if isinstance(value, Tensor) else torch.tensor(value, dtype=NUMBER)
        for name, value in values.items()
    }


def expected_state(optimiser: Optimizer) -> dict[str, Tensor]:
    """Tensors of the names, shapes and types that `optimiser_state` gives after a step.

    A step is taken by a copy, with gradients of zero.
    """
    rehearsing = deepcopy(optimiser)
    for group in rehearsing.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    rehearsing.step()
    return optimiser_state(rehearsing)


def load_optimiser(optimiser: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Continue from `optimiser_state`, which must be as `expected_state`, or none yet."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        index, key = name.split(".")
        if index.startswith(GROUP):
            optimiser.param_groups[int(index.removeprefix(GROUP))][key] = value.item()
            continue
        like = parameters[int(index)]
        if value.dtype == NUMBER:
            state.setdefault(int(index), {})[key] = value.item()
            continue
        if value.shape == like.shape:  # fused steps need the memory format of the parameter
            value = torch.empty_like(like).copy_(value)
        state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
