"""Networks of timm, an extra: any of its image models, by `timm/NAME`."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from torch import Tensor, nn

from macnn.errors import CheckpointError, UsageError
from macnn.model.backbones.inputs import InputConfig
from macnn.text import shown

PREFIX = "timm/"
# What lets a network take other image sizes, where it has positions or windows of one size.
ANY_SIZE: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})


def check_installed() -> None:
    """Check that timm is there.

    Raises:
        UsageError: it is not.
    """
    if find_spec("timm") is None:
        raise UsageError("timm: not installed", hint="pip install 'macnn[timm]'")


def names() -> list[str]:
    """All that can be built, with their prefix and, of weights, their tag; none without timm."""
    if find_spec("timm") is None:
        return []
    import timm

    return [PREFIX + name for name in timm.list_models() + timm.list_pretrained()]


def build(name: str) -> nn.Module:
    """The whole network with random weights."""
    return _create(name, pretrained=False)


def input_config(name: str) -> InputConfig:
    """What timm says its pretrained weights were trained on."""
    import timm
    from timm.models import PretrainedCfg

    config = timm.get_pretrained_cfg(name.removeprefix(PREFIX)) or PretrainedCfg()
    return InputConfig(
        image_size=config.input_size[-1],
        interpolation="bicubic" if config.interpolation == "bicubic" else "bilinear",
        mean=(config.mean[0], config.mean[1], config.mean[2]),
        std=(config.std[0], config.std[1], config.std[2]),
    )


def pretrained(name: str) -> Mapping[str, Tensor]:
    """Timm's own weights, downloaded once.

    Raises:
        CheckpointError: they cannot be, or there are none.
    """
    import timm

    found = timm.get_pretrained_cfg(name.removeprefix(PREFIX))
    if found is None or not found.has_weights:
        raise CheckpointError(
            f"{name}: timm has no weights for it", hint="set `model.weights` to a file, or to none"
        )
    try:
        return _create(name, pretrained=True).state_dict()
    # What can go wrong depends on the packages that fetch: requests, httpx, huggingface_hub.
    except Exception as error:
        source = found.url or f"model.safetensors of {found.hf_hub_id} on the Hugging Face hub"
        raise CheckpointError(
            f"pretrained weights of {name}: the download failed "
            f"({shown(str(error).partition(chr(10))[0], 200)})",
            hint=f"fetch {source} elsewhere, and set `model.weights` to the file",
        ) from None


def _create(name: str, *, pretrained: bool) -> nn.Module:
    import timm

    *wanted, last = ANY_SIZE
    for options in wanted:
        try:
            return timm.create_model(name.removeprefix(PREFIX), pretrained=pretrained, **options)
        except TypeError:  # not one of its arguments
            continue
    return timm.create_model(name.removeprefix(PREFIX), pretrained=pretrained, **last)
