"""What every stage needs before it starts: device, images, loaders."""

import random
from pathlib import Path

import torch

from macnn.config import Settings
from macnn.data.layouts.cub import read_cub
from macnn.data.loaders import Loader, Photographs
from macnn.data.samples import ImageSet
from macnn.data.splits import hold_out
from macnn.data.transforms import Augment, geometry
from macnn.errors import UsageError
from macnn.model import Network
from macnn_kernels import backend


def prepare(settings: Settings) -> torch.device:
    """Seed everything, set threads and kernels, and choose the device.

    Raises:
        UsageError: an unknown device, one that is not there, or kernels that cannot run on it.
    """
    run = settings.run
    random.seed(run.seed)
    torch.manual_seed(run.seed)
    if run.threads:
        torch.set_num_threads(run.threads)
    backend.select(run.kernels)
    name = run.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(
            f"device '{name}' is unknown", hint="use auto, cpu, cuda or cuda:N"
        ) from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device '{name}': no CUDA device is usable here", hint="use --device cpu")
    try:
        backend.choose(device)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return device


def place(network: Network, settings: Settings, device: torch.device) -> Network:
    """Move a network to its device, and let its convolutions compute as the settings say."""
    if settings.run.precision == "bf16":
        network.backbone.compute_dtype = torch.bfloat16
    return network.to(device)


def open_images(settings: Settings) -> ImageSet:
    """Read the data set and hold out the validation split.

    Raises:
        UsageError: no data set was named.
        DataError: it cannot be read.
    """
    root: Path | None = settings.data.root
    if root is None:
        raise UsageError("no data set given", hint="pass --data DIR; 'macnn data synth' makes one")
    return hold_out(read_cub(root), settings.data.validation, settings.data.split_seed)


def open_loader(
    settings: Settings,
    images: ImageSet,
    *,
    augment: Augment = "none",
    shuffle: bool = False,
    stream: int = 0,
) -> Loader:
    """Batches of a data set as the settings say.

    `stream` tells apart loaders that should not draw the same order or augmentation.
    """
    data = settings.data
    view = geometry(data.image_size, data.resize_mode, augment)
    return Loader(
        Photographs(images, view, seed=settings.run.seed * 8 + stream),
        data.batch_size,
        shuffle=shuffle,
        workers=data.workers,
        pin_memory=torch.cuda.is_available(),
    )
