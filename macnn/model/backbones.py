"""Convolutional backbones: any torchvision classification network with a spatial map, or our own.

A network is cut at a node, its tap: everything after is removed, and the output is the feature map
F (B, C, H, W). Parameter names stay torchvision's, so weight files load as they are.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext, redirect_stderr
from dataclasses import dataclass
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from macnn.errors import CheckpointError, UsageError
from macnn.model import tiny
from macnn.model.modes import evaluating
from macnn.model.weights import load_into, read_weights
from macnn.text import shown

TINY = "tiny"
FEATURES = "features"
# PyTorch's words for an image that ends before the layers do, of pooling and of convolutions.
NO_ROOM = ("Output size is too small", "Kernel size can't be greater than actual input size")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class BackboneSpec:
    """What identifies a backbone: a name, and the node whose output is the feature map."""

    name: str
    tap: str | None = None


class Backbone(nn.Module):
    """A cut network, with the normalisation its weights expect.

    `forward` takes images (B, 3, S, S), uint8 or float in [0, 1], and gives features (B, C, H, W).
    Weights are float32; with `compute_dtype` bfloat16 the convolutions compute and answer in it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: BackboneSpec, *, normalise: bool = True) -> None:
        """Build the network with random weights; without `normalise` images come normalised.

        Raises:
            UsageError: an unknown name or tap.
        """
        super().__init__()
        if spec.name == TINY:
            self.body: nn.Module = tiny.TinyNet()
            mean, std = tiny.MEAN, tiny.STD
        else:
            self.body = _cut(spec)
            mean, std = IMAGENET_MEAN, IMAGENET_STD
        self.body.to(memory_format=torch.channels_last)  # faster on CPU and GPU alike
        self.compute_dtype = torch.float32
        self.normalise = normalise
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the feature map, in `compute_dtype`."""
        x = images if images.is_floating_point() else images.to(self.mean.dtype) / 255
        if self.normalise:
            x = (x - self.mean) / self.std
        low = self.compute_dtype != torch.float32
        with torch.autocast(x.device.type, self.compute_dtype) if low else nullcontext():
            output: Tensor | dict[str, Tensor] = self.body(x)
        return output[FEATURES] if isinstance(output, dict) else output


@torch.no_grad()
def map_shape(backbone: nn.Module, image_size: int) -> tuple[int, int, int]:
    """C, H, W of the feature map of a backbone for square images of `image_size` pixels.

    Of a `Backbone` shapes alone are computed, on the meta device, which takes no memory, whatever
    the size. Any other module is run once, on a ramp from black to white.

    Raises:
        UsageError: it cannot take this size, or its output is no spatial map, or not finite.
    """
    tensors = {**dict(backbone.named_parameters()), **dict(backbone.named_buffers())}
    here = next(iter(tensors.values()), torch.empty(0)).device
    ramp = torch.linspace(0, 1, 3 * image_size**2).view(1, 3, image_size, image_size)
    try:
        with (
            evaluating(backbone),
            redirect_stderr(StringIO()),
        ):  # torch.fx prints code there when a layer fails
            if isinstance(backbone, Backbone):
                shapes = {name: tensor.to("meta") for name, tensor in tensors.items()}
                features = functional_call(backbone, shapes, (ramp.to("meta"),))
            else:
                features = backbone(ramp.to(here))
    # A node in the middle of a network may need anything; transformers are built for one size.
    except Exception as error:
        if any(words in str(error) for words in NO_ROOM):
            message, hint = "are too small for the backbone", "raise `data.image_size`"
        else:
            reason = shown(str(error).partition("\n")[0], 200)
            message = f"do not fit the backbone ({reason})"
            hint = "set `data.image_size` to what it was made for, 224 for most"
        raise UsageError(f"{image_size} px {message}", hint=hint) from None
    shape = tuple(features.shape) if isinstance(features, Tensor) else ()
    if len(shape) != 4 or shape[0] != 1 or shape[2] * shape[3] <= 1:
        found = shape or type(features).__name__
        raise UsageError(
            f"`backbone`: its output {found} is no spatial map at {image_size} px",
            hint="expected features (B, C, H, W); choose another `model.tap`, or a larger "
            "`data.image_size`",
        )
    if features.device.type != "meta" and not features.isfinite().all():
        raise UsageError("`backbone`: its features of a test image are not finite")
    return shape[1], shape[2], shape[3]


class ShapesOnly(TorchFunctionMode):
    """Networks that are built inside have weights without memory, on the meta device.

    `torch.device("meta")` does not serve: some networks compute their widths with tensors.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function of PyTorch; what is made empty, for weights, takes no memory."""
        meta = {"device": "meta"} if func is torch.empty else {}
        return func(*args, **(kwargs or {}) | meta)


def create_backbone(
    name: str,
    *,
    weights: str | Path | None = None,
    tap: str | None = None,
    normalise: bool = True,
) -> Backbone:
    """Create a backbone, and load its weights.

    Args:
        name: "tiny", or any torchvision classification network.
        weights: a .safetensors or .pth file, "imagenet" (torchvision's own), "none" for random
            ones, or None for the packaged weights of "tiny".
        tap: node whose output is the feature map; by default the last spatial one.
        normalise: whether it normalises images, uint8 or float in [0, 1], as its weights expect;
            otherwise images come normalised.

    Raises:
        UsageError: a `ValueError`; an unknown name or tap, or no weights for a torchvision network.
        CheckpointError: a missing or unreadable weights file, or one of another network.
    """
    backbone = Backbone(BackboneSpec(name, tap), normalise=normalise)
    if weights == "none":
        return backbone
    if weights == "imagenet" and name != TINY:
        tensors = _imagenet(name)
    elif weights is not None:
        tensors = read_weights(Path(weights))
    elif name == TINY:
        tensors = read_weights(tiny.tiny_weights_path())
    else:
        raise UsageError(
            f"backbone {shown(name)}: no weights given",
            hint="set `model.weights` to a file, to imagenet (torchvision downloads them) or to "
            "none (random)",
        )
    load_into(backbone.body, tensors, f"weights {shown(weights or 'packaged')}", name)
    return backbone


def _cut(spec: BackboneSpec) -> nn.Module:
    names = models.list_models(module=models)
    if spec.name not in names:
        close = get_close_matches(spec.name, [TINY, *names], n=1)
        raise UsageError(
            f"backbone '{shown(spec.name, 100)}' is neither '{TINY}' nor a torchvision "
            "classification network",
            hint=f"did you mean '{close[0]}'?" if close else "see torchvision.models.list_models()",
        )
    with warnings.catch_warnings():  # two networks speak of an argument that users do not have
        warnings.filterwarnings("ignore", "The default weight initialization", FutureWarning)
        network = models.get_model(spec.name, weights=None)
    _, nodes = get_graph_node_names(network, suppress_diff_warning=True)
    tap = spec.tap or _default_tap(network, nodes)
    if not any(node == tap or node.startswith(tap + ".") for node in nodes):
        close = get_close_matches(tap, nodes, n=3, cutoff=0)
        raise UsageError(
            f"{spec.name} has no node '{shown(tap, 100)}'", hint=f"near it: {', '.join(close)}"
        )
    cut: nn.Module = create_feature_extractor(network, {tap: FEATURES}, suppress_diff_warning=True)
    return cut


def _default_tap(network: nn.Module, nodes: list[str]) -> str:
    """The last node before the global pooling or the head, and before a last max-pooling."""
    ends = ("avgpool", "adaptive_avg_pool", "mean", "classifier", "head", "fc")
    last = next(i for i, node in enumerate(nodes) if node.startswith(ends)) - 1
    modules = dict(network.named_modules())
    return nodes[last - 1 if isinstance(modules.get(nodes[last]), nn.MaxPool2d) else last]


def _imagenet(name: str) -> Mapping[str, Tensor]:
    try:
        tensors: Mapping[str, Tensor] = models.get_model_weights(name).DEFAULT.get_state_dict(
            progress=False, check_hash=True
        )
    except OSError as error:
        raise CheckpointError(
            f"imagenet weights of {name}: the download failed ({shown(error, 200)})",
            hint="set `model.weights` to a file",
        ) from None
    return tensors
