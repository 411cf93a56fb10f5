"""A backbone: a network cut at its taps, with the normalisation its weights expect."""

from contextlib import nullcontext
from dataclasses import dataclass
from difflib import get_close_matches
from types import ModuleType

import torch
from torch import Tensor, nn

from macnn.errors import UsageError
from macnn.model import tiny
from macnn.model.backbones import from_timm, from_torchvision
from macnn.model.backbones.inputs import Colour, InputConfig
from macnn.model.backbones.taps import check_taps, cut, default_tap, kept, layers
from macnn.text import shown

TINY = "tiny"
Features = Tensor | tuple[Tensor, Tensor]
"""Of one tap; or of two, first what the maps are computed from, then what parts are made of."""


def both(features: Features) -> tuple[Tensor, Tensor]:
    """What maps are computed from, and what parts are made of."""
    return features if isinstance(features, tuple) else (features, features)


@dataclass(frozen=True)
class BackboneSpec:
    """What identifies a backbone.

    name: "tiny", one of torchvision's classifiers, or "timm/NAME". tap: layer whose output the part
    features are averaged over; by default the last with a spatial map. map_tap: layer whose
    channels are grouped into parts; by default the same. split_signs: whether every channel of
    that layer becomes two, what is positive and what is negative of it: where a channel has values
    of both signs, its peak alone says little. mean, std: of the normalisation; by default those of
    the pretrained weights.
    """

    name: str
    tap: str | None = None
    map_tap: str | None = None
    split_signs: bool = False
    mean: Colour | None = None
    std: Colour | None = None


class Backbone(nn.Module):
    """A cut network, with the normalisation its weights expect.

    `forward` takes images (B, 3, S, S), uint8 or float in [0, 1], and gives features (B, C, H, W),
    or with two taps a pair of them, see `Features`. Weights are float32; with `compute_dtype`
    bfloat16 the layers compute and answer in it. spec: with all defaults filled in.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: BackboneSpec, *, normalise: bool = True) -> None:
        """Build the network with random weights; without `normalise` images come normalised.

        Raises:
            UsageError: an unknown name or tap.
        """
        super().__init__()
        config = input_config(spec.name)
        self.body, taps = _body(spec, config)
        self.body.to(memory_format=torch.channels_last)  # faster on CPU and GPU alike
        mean, std = spec.mean or config.mean, spec.std or config.std
        self.spec = BackboneSpec(spec.name, *taps, spec.split_signs, mean, std)
        self.compute_dtype = torch.float32
        self.normalise = normalise
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Features:
        """Compute the features, in `compute_dtype`."""
        x = images if images.is_floating_point() else images.to(self.mean.dtype) / 255
        if self.normalise:
            x = (x - self.mean) / self.std
        # Double precision measures where the cells are.
        low = self.compute_dtype != torch.float32 and x.dtype != torch.float64
        with torch.autocast(x.device.type, self.compute_dtype) if low else nullcontext():
            output: Tensor = self.body(x)
        seen = features = output
        if self.spec.tap is not None and self.spec.map_tap is not None:
            seen = features = kept(self.body, self.spec.tap)
            if self.spec.map_tap != self.spec.tap:
                seen = kept(self.body, self.spec.map_tap)
        if low:  # some layers answer in float32 all the same
            seen, features = (x.to(self.compute_dtype) for x in (seen, features))
        if self.spec.split_signs:
            return torch.cat((seen.relu(), seen.neg().relu()), dim=1), features
        return features if self.spec.map_tap == self.spec.tap else (seen, features)


def input_config(name: str) -> InputConfig:
    """What images the pretrained weights of a backbone expect.

    Raises:
        UsageError: an unknown name.
    """
    if name == TINY:
        return InputConfig(tiny.IMAGE_SIZE, "bilinear", tiny.MEAN, tiny.STD)
    config: InputConfig = library(name).input_config(name)
    return config


def library(name: str) -> ModuleType:
    """Where a network comes from.

    Raises:
        UsageError: from nowhere; the nearest name is said.
    """
    timm = name.startswith(from_timm.PREFIX)
    if timm:
        from_timm.check_installed()
    source = from_timm if timm else from_torchvision
    if name in source.names():
        return source
    known = [TINY, *from_torchvision.names(), *from_timm.names()]
    close = get_close_matches(name, known, n=1)
    others = f"neither '{TINY}', a torchvision classifier, nor 'timm/NAME'"
    raise UsageError(
        f"backbone '{shown(name, 100)}' is {'no network of timm' if timm else others}",
        hint=f"did you mean '{close[0]}'?" if close else "list them with `backbones`",
    )


def _body(
    spec: BackboneSpec, config: InputConfig
) -> tuple[nn.Module, tuple[str | None, str | None]]:
    """The network of a spec, cut, and its taps."""
    if spec.name == TINY:
        if spec.tap or spec.map_tap:
            raise UsageError(f"`model.tap`: '{TINY}' has no layers to choose from")
        return tiny.TinyNet(), (None, None)
    network: nn.Module = library(spec.name).build(spec.name)
    try:
        ran = layers(network, config.image_size)
    except Exception as error:  # whatever a network may do
        reason = shown(str(error).partition("\n")[0], 200)
        raise UsageError(f"backbone {spec.name}: cannot be run ({reason})") from None
    tap = spec.tap or default_tap(network, ran)
    map_tap = spec.map_tap or tap
    taps = {tap, map_tap}
    check_taps(taps, ran, spec.name)
    cut(network, taps, ran, config.image_size)
    return network, (tap, map_tap)
