"""Taps: layers of a network whose outputs are kept, and the removal of all that they do not need.

A tap is a module, by its name in the network; whatever the network is, its output is kept when it
has been computed. Networks are run on the meta device to see what runs when: that takes no memory.
"""

import math
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
IMAGES = 2  # a layer that sees another number of them sees windows
NEGATIVE = 0.1  # share of the energy of a layer that is negative, from which on it has both signs
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


def is_signed(values: Tensor) -> bool:
    """Whether what is negative matters; of SiLU and GELU it does not."""
    return bool(values.clamp(max=0).square().sum() > NEGATIVE * values.square().sum())


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
                case [images, channels, height, width] if images == IMAGES and height == width > 1:
                    shape = (channels, height, width)
            found.append(Layer(name, began[name].pop(), next(clock), shape))

        hooks += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        with torch.no_grad():
            run_on_meta(network, image_size)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def run_on_meta(network: nn.Module, image_size: int, *, training: bool = False) -> Any:
    """What a network gives for two square images of `image_size` pixels, without their values."""
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    shapes = {name: tensor.to("meta") for name, tensor in tensors.items()}
    images = torch.empty(IMAGES, 3, image_size, image_size, device="meta")
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
    """Keep the outputs of taps, and remove what they do not need, in place.

    Where a block is tapped inside, its rest stays, as it must to be run, but is not trained.
    """
    end = max(each.ended for each in ran if each.name in taps)
    needed = {each.name for each in ran if each.began < end}
    late = {each.name for each in ran} - needed
    unseen = {
        name
        for name, module in network.named_modules()
        if name not in needed | late and any(True for _ in module.parameters())
    }
    for tap in taps:
        network.get_submodule(tap).register_forward_hook(_keep)
    for names in (unseen, late):
        for together in _siblings(names, needed):
            removed = {name: network.get_submodule(name) for name in together}
            for name in removed:
                _put(network, name, PassThrough())
            if not _runs(network, taps, image_size):
                for name, module in removed.items():
                    _put(network, name, module)
    with torch.enable_grad():
        run_on_meta(network, image_size)
    trained = _parameters_of([kept(network, tap) for tap in taps])
    for parameter in network.parameters():
        parameter.requires_grad_(id(parameter) in trained)


def _siblings(names: set[str], needed: set[str]) -> list[list[str]]:
    """The outermost of these modules that hold nothing needed, those of a parent together."""
    whole = {n for n in names if not any(o.startswith(f"{n}.") for o in needed)}
    found: dict[str, list[str]] = {}
    for name in sorted(whole, key=lambda name: name.count(".")):  # the head first
        parent = name.rpartition(".")[0]
        if parent not in whole:
            found.setdefault(parent, []).append(name)
    return list(found.values())


def check_taps(taps: set[str], ran: list[Layer], name: str) -> None:
    """Check that taps are layers of a network that run and give maps.

    Raises:
        UsageError: one is not; near ones are named.
    """
    shapes = {each.name: each.shape for each in ran if each.name}
    maps = [layer for layer, shape in shapes.items() if shape]
    for tap in taps:
        if not shapes.get(tap):
            layer = f"layer '{shown(tap, 100)}'"
            known = f"{layer} of {name} gives no spatial map"
            near = ", ".join(get_close_matches(tap, maps, n=3, cutoff=0))
            raise UsageError(
                known if tap in shapes else f"{name} has no {layer}",
                hint=f"set `model.tap` or `model.map_tap` to another, near it: {near}",
            )


def kept(network: nn.Module, tap: str) -> Any:
    """What a tap gave when the network last ran, once."""
    return network.get_submodule(tap).__dict__.pop(_KEPT)


def _keep(module: nn.Module, _inputs: Any, output: Any) -> None:
    module.__dict__[_KEPT] = as_map(output).clone()  # what follows may change it in place


def _parameters_of(outputs: list[Tensor]) -> set[int]:
    """The ids of all parameters that outputs depend on."""
    waiting: list[Any] = [output.grad_fn for output in outputs]
    nodes = set(waiting)
    while waiting:
        new = {node for node, _ in getattr(waiting.pop(), "next_functions", ())} - nodes
        nodes |= new
        waiting += new
    return {id(node.variable) for node in nodes if hasattr(node, "variable")}


def _put(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    network.get_submodule(parent)._modules[own] = module


@torch.no_grad()
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
