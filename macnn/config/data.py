"""Settings of the data: which images, and how they reach the network."""

from pathlib import Path
from typing import Literal

from pydantic import field_validator

from macnn import bounds
from macnn.config.section import Section, absolute, setting


class DataSettings(Section):
    """Which images, and how they reach the network."""

    root: Path | None = setting(None, "Folder of the data set, or a CSV manifest.", flag="--data")
    dataset: Literal[
        "auto",
        "cub",
        "aircraft",
        "aircraft-family",
        "aircraft-manufacturer",
        "cars",
        "flowers",
        "pets",
        "dogs",
        "folders",
        "manifest",
    ] = setting("auto", "Layout, one of 'macnn data layouts'.", flag="--dataset")
    image_size: int = setting(
        224,
        "Side of the input; if not given, the backbone's own.",
        flag="--img-size",
        unit="pixels",
        source="ours; paper: 448",
        ge=bounds.IMAGE_SIZES[0],
        le=bounds.IMAGE_SIZES[1],
    )
    interpolation: Literal["bilinear", "bicubic"] | None = setting(
        None, "How images are resized; by default as for the backbone's pretrained weights."
    )
    resize_mode: Literal["crop", "pad", "squash"] = setting(
        "crop",
        "How an image becomes square: crop takes the centre of the short side and loses the ends, "
        "pad adds grey and loses resolution, squash changes the proportions.",
        source="ours; the paper does not say",
    )
    augment: Literal["none", "flip", "strong"] = setting(
        "strong", "strong: crop, flip, colour jitter.", flag="--augment", source="ours; paper: flip"
    )
    batch_size: int = setting(
        16,
        "Images per step, over all processes.",
        flag="--batch-size",
        unit="images",
        source="third party",
        ge=1,
        le=16_384,
    )
    workers: int = setting(
        0,
        "Loader processes; 0: the main process.",
        flag="--workers",
        unit="processes",
        ge=0,
        le=1024,
    )
    validation: float = setting(
        0.1,
        "Held out for validation, per class, where the data set has no validation images of its "
        "own. 0 trains on all training images, its own validation images included.",
        unit="share of the training images",
        source="ours; paper: 0",
        ge=0,
        lt=1,
    )
    test: float = setting(
        0.2,
        "Held out for testing, per class, where the data set has no split.",
        unit="share of the images",
        ge=0,
        lt=1,
    )
    split_seed: int = setting(0, "Seed of the splits that are made here.", ge=0, le=bounds.SEED)
    skip_bad_images: float = setting(
        0.0,
        "How many images may be unreadable; they are named and left out. 0 stops at the first.",
        unit="share of the images",
        ge=0,
        lt=1,
    )
    allow_links: bool = setting(
        False,
        "Follow symbolic links that lead out of the data set's folder. They are refused otherwise: "
        "a data set from elsewhere must not reach your other files.",
    )
    cache: Path | None = setting(
        None, "Folder from 'macnn data cache' to read images from.", flag="--cache"
    )

    @field_validator("root", "cache")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None or path == Path("none") else absolute(path)
