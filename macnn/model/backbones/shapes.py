"""The shapes of a backbone's maps, before weights and pixels take memory."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from macnn.errors import UsageError
from macnn.model.backbones.backbone import Backbone, input_config
from macnn.model.modes import evaluating
from macnn.text import shown

# PyTorch's words for an image that ends before the layers do, of pooling and of convolutions.
NO_ROOM = ("Output size is too small", "Kernel size can't be greater than actual input size")
Shape = tuple[int, int, int]


@torch.no_grad()
def map_shapes(backbone: nn.Module, image_size: int) -> tuple[Shape, Shape]:
    """C, H, W of what maps are computed from and of what parts are made of, see `Features`.

    For square images of `image_size` pixels. Of a `Backbone` shapes alone are computed, on the meta
    device, which takes no memory, whatever the size. Any other module is run once, on a ramp from
    black to white.

    Raises:
        UsageError: it cannot take this size, or its output is no spatial map, or not finite.
    """
    tensors = {**dict(backbone.named_parameters()), **dict(backbone.named_buffers())}
    here = next(iter(tensors.values()), torch.empty(0)).device
    ramp = torch.linspace(0, 1, 3 * image_size**2).view(1, 3, image_size, image_size)
    try:
        with evaluating(backbone):
            if isinstance(backbone, Backbone):
                shapes = {name: tensor.to("meta") for name, tensor in tensors.items()}
                output = functional_call(backbone, shapes, (ramp.to("meta"),))
            else:
                output = backbone(ramp.to(here))
    # A layer in the middle of a network may need anything; transformers are built for one size.
    except Exception as error:
        if any(words in str(error) for words in NO_ROOM):
            message, hint = "are too small for the backbone", "raise `data.image_size`"
        else:
            reason = shown(str(error).partition("\n")[0], 200)
            message = f"do not fit the backbone ({reason})"
            hint = f"set `data.image_size` to what it was made for{_made_for(backbone)}"
        raise UsageError(f"{image_size} px {message}", hint=hint) from None
    pair = output if isinstance(output, tuple) and len(output) == 2 else (output, output)
    return _shape(pair[0], image_size), _shape(pair[1], image_size)


def _made_for(backbone: nn.Module) -> str:
    if not isinstance(backbone, Backbone):
        return ""
    hint = f", {input_config(backbone.spec.name).image_size}"
    if backbone.spec.name.startswith("vit_"):
        hint += "; vision transformers of timm take any size, see `model.backbone`"
    return hint


def _shape(features: Any, image_size: int) -> Shape:
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
