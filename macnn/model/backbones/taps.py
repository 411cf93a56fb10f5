"""Taps: layers of a network whose outputs are kept, and the removal of all that they do not need.

A tap is a module, by its name in the network; whatever the network is, its output is kept when it
has been computed. Networks are run on the meta device to see what runs when: that takes no memory.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from macnn.errors import UsageError
from macnn.model.modes import evaluating
from macnn.text import shown

# First parts of the names of what turns a map into class scores, in torchvision and timm.
HEADS = ("avgpool", "global_pool", "attn_pool", "head", "fc", "classifier", "aux", "Aux")
_KEPT = "_kept"


@dataclass(frozen=True)
class Layer:
    """What a module did when the network ran.

    name: of the module. began, ended: when, in order. shape: (C, H, W) of its output as a map, or
    None if it is none.
    """

    name: str
    began: int
    ended: int
    shape: tuple[int, int, int] | None


class PassThrough(nn.Module):
    """In the place of a module that is not needed: what comes in goes out."""

    def forward(self, first: Any, *args: Any, **kwargs: Any) -> Any:
        """Give back the first argument."""
        return first


def as_map(output: Any) -> Any:
    """The output of a layer for square images as a map (B, C, H, W), H = W.

    Maps pass, channels last become channels first, and of tokens (B, L, C) those in front of the
    grid, class and register tokens, are left out. Whatever else it is stays as it is.
    """
    if not isinstance(output, Tensor):
        return output
    if output.dim() == 4 and output.shape[1] == output.shape[2] != output.shape[3]:
        return output.permute(0, 3, 1, 2)
    if output.dim() == 3:
        side = math.isqrt(output.shape[1])  # what is in front is less than 2 side + 1
        return output[:, output.shape[1] - side * side :].mT.unflatten(2, (side, side))
    return output


def layers(network: nn.Module, image_size: int) -> list[Layer]:
    """What runs for square images of `image_size` pixels, in the order in which it ends.

    Raises:
        Exception: whatever the network does with images of this size.
    """
    began: dict[str, list[int]] = {}
    found: list[Layer] = []
    clock = iter(range(2**62))
    hooks = []
    for name, module in network.named_modules():

        def before(_m: nn.Module, _i: Any, name: str = name) -> None:
            began.setdefault(name, []).append(next(clock))

        def after(_m: nn.Module, _i: Any, output: Any, name: str = name) -> None:
            shape: tuple[int, int, int] | None = None
            match list(getattr(as_map(output), "shape", ())):
                case [_, channels, height, width] if height == width > 1:
                    shape = (channels, height, width)
            found.append(Layer(name, began[name].pop(), next(clock), shape))

        hooks += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        run_on_meta(network, image_size)
    finally:
        for hook in hooks:
            hook.remove()
    return found


@torch.no_grad()
def run_on_meta(network: nn.Module, image_size: int, *, training: bool = False) -> Any:
    """What a network gives for two square images of `image_size` pixels, without their values."""
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    shapes = {name: tensor.to("meta") for name, tensor in tensors.items()}
    images = torch.empty(2, 3, image_size, image_size, device="meta")
    with evaluating(network):
        network.train(training)
        return functional_call(network, shapes, (images,))


def default_tap(network: nn.Module, ran: list[Layer]) -> str:
    """The last layer with a spatial map in front of the head, and of a last max-pooling.

    Raises:
        UsageError: there is none.
    """
    maps = [each.name for each in ran if each.shape and not each.name.startswith(HEADS)]
    if not any(maps):
        raise UsageError("`backbone`: no layer gives a spatial map", hint="choose another")
    innermost = next(
        i
        for i, name in enumerate(maps)
        if not any(o.startswith(f"{name}.") for o in maps)
        and all(later == "" or name.startswith(f"{later}.") for later in maps[i + 1 :])
    )
    pools = isinstance(network.get_submodule(maps[innermost]), nn.MaxPool2d)
    return maps[innermost - 1] if pools else next(filter(None, reversed(maps)))


def cut(network: nn.Module, taps: set[str], ran: list[Layer], image_size: int) -> None:
    """Keep the outputs of taps, and remove what runs after the last of them, in place.

    Where a block is tapped inside, its rest stays, as it must to be run, but is not trained.
    """
    end = max(max(each.ended for each in ran if each.name == tap) for tap in taps)
    needed = {each.name for each in ran if each.began < end}
    late = {each.name for each in ran} - needed
    unseen = {
        name
        for name, module in network.named_modules()
        if name not in needed | late and any(True for _ in module.parameters())
    }
    for tap in taps:
        network.get_submodule(tap).register_forward_hook(_keep)

    def idle(names: set[str]) -> Iterator[str]:
        """The outermost of these modules; none with a module inside that is needed."""
        inside = {n for n in names if not any(o.startswith(f"{n}.") for o in needed)}
        yield from (n for n in inside if n.rpartition(".")[0] not in inside)

    for removable in (late | unseen, late):
        removed = {name: network.get_submodule(name) for name in idle(removable)}
        for name in removed:
            _put(network, name, PassThrough())
        if _runs(network, taps, image_size):
            break
        for name, module in removed.items():
            _put(network, name, module)
    for name in late & dict(network.named_modules()).keys():
        network.get_submodule(name).requires_grad_(False)


def check_taps(taps: set[str], ran: list[Layer], name: str) -> None:
    """Check that taps are layers of a network that run.

    Raises:
        UsageError: one is not; near ones are named.
    """
    known = list(dict.fromkeys(each.name for each in ran if each.name))
    for tap in taps:
        if tap not in known:
            close = get_close_matches(tap, known, n=3, cutoff=0)
            raise UsageError(
                f"{name} has no layer '{shown(tap, 100)}'", hint=f"near it: {', '.join(close)}"
            )


def kept(network: nn.Module, tap: str) -> Any:
    """What a tap gave when the network last ran, once."""
    return as_map(network.get_submodule(tap).__dict__.pop(_KEPT))


def _keep(module: nn.Module, _inputs: Any, output: Any) -> None:
    module.__dict__[_KEPT] = output


def _put(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    network.get_submodule(parent)._modules[own] = module


def _runs(network: nn.Module, taps: set[str], image_size: int) -> bool:
    """Whether a network still runs, in both modes, and reaches its taps."""
    try:
        for training in (True, False):
            run_on_meta(network, image_size, training=training)
            for tap in taps:
                kept(network, tap)
    except Exception:  # whatever a network without some of its modules may raise
        return False
    return True
