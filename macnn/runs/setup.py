"""What every command needs before it starts: device, images, loaders."""

import os
import random
from typing import Any, TypeVar

import torch
from torch import nn

from macnn import distributed, stop
from macnn.config import Settings
from macnn.data.cache import Cache, open_cache
from macnn.data.layouts import open_data_set
from macnn.data.loaders import ImageDataset, Loader
from macnn.data.samples import ImageSet
from macnn.data.skip import skip_bad
from macnn.data.splits import complete
from macnn.data.transforms import Augment, geometry
from macnn.defaults import SMALL_BATCH
from macnn.errors import DataError, UsageError
from macnn.events import Listener, silent
from macnn.model import Backbone
from macnn.model.backbones import input_config
from macnn.text import shown
from macnn_kernels import backend

M = TypeVar("M", bound=nn.Module)

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


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
    if run.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    name = run.device
    if name in ("auto", "cuda"):
        cuda = name == "cuda" or torch.cuda.is_available()
        name = f"cuda:{distributed.local_rank()}" if cuda else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(
            f"device '{name}' is unknown", hint="use auto, cpu, cuda or cuda:N"
        ) from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            f"device '{name}': no CUDA device is usable here", hint="use `run.device=cpu`"
        )
    try:
        backend.choose(device)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return device


def completed(settings: Settings) -> Settings:
    """Settings with images as the backbone's pretrained weights expect them; what was given stays.

    Raises:
        UsageError: an unknown backbone.
    """
    config, data = input_config(settings.model.backbone), settings.data
    own: dict[str, Any] = {}
    if "image_size" not in data.model_fields_set:
        own["image_size"] = config.image_size
    if data.interpolation is None:
        own["interpolation"] = config.interpolation
    return settings.model_copy(update={"data": data.model_copy(update=own)})


def with_batch_norm(settings: Settings) -> Settings:
    """Settings that say how batch norms train; the processes must have found each other."""
    train, each = settings.train, -(-settings.data.batch_size // distributed.world_size())
    if train.batch_norm is not None:
        return settings
    keeps = settings.model.weights != "none" and each < SMALL_BATCH
    norm = {"batch_norm": "eval" if keeps else "train"}
    return settings.model_copy(update={"train": train.model_copy(update=norm)})


def with_rounds(settings: Settings, images: ImageSet) -> Settings:
    """Settings that say how long the training images are trained on."""
    steps = -(-len(images.split("train").samples) // settings.data.batch_size)
    rounds = {"rounds": settings.train.rounds_of(steps)}
    return settings.model_copy(update={"train": settings.train.model_copy(update=rounds)})


def to_device(model: M, settings: Settings, device: torch.device) -> M:
    """Move a model to its device, and let its convolutions compute as the settings say."""
    for module in model.modules():
        if isinstance(module, Backbone):
            module.compute_dtype = PRECISIONS[settings.run.precision]
            if settings.run.compile:
                module.body.compile()
    return model.to(device)


def open_images(settings: Settings, listen: Listener = silent) -> ImageSet:
    """Read the data set, make the splits it lacks, and leave out bad images where allowed.

    Raises:
        UsageError: no data set was named, or it fits two layouts.
        DataError: it cannot be read, or more images are bad than may be.
    """
    data = settings.data
    if data.root is None:
        raise UsageError("no data set given", hint="name its folder with `data.root`")
    images = complete(
        open_data_set(data.root, data.dataset, listen, allow_links=data.allow_links),
        validation=data.validation,
        test=data.test,
        seed=data.split_seed,
    )
    if data.skip_bad_images == 0:
        return images
    return skip_bad(images, data.skip_bad_images, listen, _cache(settings, images))


def check_classes(images: ImageSet, names: tuple[str, ...]) -> None:
    """Check that labels mean the same in a data set as in a checkpoint with these class names.

    Raises:
        DataError: they do not.
    """
    if images.class_names == names:
        return
    pairs = enumerate(zip(images.class_names, names, strict=False), start=1)
    differing = next((f"class {k} is '{a}', not '{b}'" for k, (a, b) in pairs if a != b), None)
    raise DataError(
        f"{shown(images.root)}: other classes than in the checkpoint: "
        + (differing or f"{len(images.class_names)}, not {len(names)}"),
        hint="use a data set with the classes of training",
    )


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
    view = geometry(data.image_size, data.resize_mode, augment, data.interpolation or "bilinear")
    return Loader(
        ImageDataset(images, view, settings.run.seed * 8 + stream, _cache(settings, images)),
        data.batch_size,
        shuffle=shuffle,
        workers=data.workers,
        pin_memory=torch.cuda.is_available(),
        rank=distributed.rank(),
        world_size=distributed.world_size(),
        should_stop=stop.requested,
    )


def _cache(settings: Settings, images: ImageSet) -> Cache | None:
    data = settings.data
    if data.cache is None:
        return None
    return open_cache(data.cache, images, data.image_size, data.interpolation or "bilinear")
