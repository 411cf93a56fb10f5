"""From a stored photograph to the square network input, boxes and keypoints following.

Built from torchvision.transforms.v2, whose geometry moves keypoints with the pixels.
"""

from typing import Literal

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

ResizeMode = Literal["crop", "pad", "squash"]
Augment = Literal["none", "flip", "strong"]
Interpolation = Literal["bilinear", "bicubic"]


def geometry(
    size: int,
    mode: ResizeMode,
    augment: Augment = "none",
    interpolation: Interpolation = "bilinear",
) -> v2.Transform:
    """Geometry and colour on uint8 images: any size in, `size` x `size` out.

    `crop` scales the short side to `size` and takes the centre (a random place along the long side
    when augmenting); `pad` adds grey to the short side first; `squash` scales both sides freely.
    """
    resizing = {"antialias": True, "interpolation": v2.InterpolationMode(interpolation)}
    steps: list[v2.Transform] = []
    if augment == "strong":
        steps += [
            v2.RandomResizedCrop(size, scale=(0.5, 1.0), ratio=(3 / 4, 4 / 3), **resizing),
            v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
        ]
    elif mode == "squash":
        steps.append(v2.Resize((size, size), **resizing))
    elif mode == "pad":
        steps += [PadToSquare(), v2.Resize((size, size), **resizing)]
    else:
        crop = v2.CenterCrop(size) if augment == "none" else v2.RandomCrop(size)
        steps += [v2.Resize(size, **resizing), crop]
    if augment != "none":
        steps.append(RandomFlip())
    return v2.Compose(steps)


class RandomFlip(v2.RandomHorizontalFlip):  # type: ignore[misc]  # torchvision is untyped
    """Mirror left and right half of the time; x becomes W - x.

    torchvision resizes keypoints as places in a continuous plane but flips them as indices of
    pixels (W - 1 - x), which puts them one pixel off.
    """

    def transform(self, inpt: object, params: dict[str, object]) -> object:
        """Mirror one image, box or set of keypoints."""
        if not isinstance(inpt, tv_tensors.KeyPoints):
            return super().transform(inpt, params)
        x, y = inpt.as_subclass(Tensor).unbind(-1)
        return tv_tensors.wrap(torch.stack((inpt.canvas_size[1] - x, y), dim=-1), like=inpt)


class PadToSquare(v2.Transform):  # type: ignore[misc]  # torchvision is untyped
    """Pad the short side with mid-grey, evenly."""

    def make_params(self, flat_inputs: list[object]) -> dict[str, object]:
        """Work out the padding from the size of the inputs."""
        height, width = v2.functional.get_size(flat_inputs[0])[-2:]
        across, down = max(height - width, 0), max(width - height, 0)
        return {"padding": [across // 2, down // 2, across - across // 2, down - down // 2]}

    def transform(self, inpt: object, params: dict[str, object]) -> object:
        """Pad one image, box or set of keypoints."""
        return self._call_kernel(v2.functional.pad, inpt, fill=127, **params)
