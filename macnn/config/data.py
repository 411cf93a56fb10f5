"""Settings of the data: which images, and how they reach the network."""

from pathlib import Path
from typing import Literal

from pydantic import field_validator

from macnn import bounds
from macnn.config.section import Section, absolute, setting


class DataSettings(Section):
    """Which images, and how they reach the network."""

    root: Path | None = setting(
        None, "--data", "Folder of the data set, or a CSV manifest; see 'macnn data layouts'."
    )
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
    ] = setting("auto", "--dataset", "Layout of the data set; auto recognises it.")
    image_size: int = setting(
        224,
        "--img-size",
        "Side of the square network input, in pixels.",
        source="paper: 448",
        ge=bounds.IMAGE_SIZES[0],
        le=bounds.IMAGE_SIZES[1],
    )
    resize_mode: Literal["crop", "pad", "squash"] = setting(
        "crop",
        "--resize-mode",
        "How a photograph becomes square: crop the centre of the short side (loses the ends), "
        "pad with grey (loses resolution), squash (changes proportions).",
    )
    augment: Literal["none", "flip", "strong"] = setting(
        "strong",
        "--augment",
        "Training augmentation: none; flip (the paper's); strong (random resized crop, flip, "
        "colour jitter).",
    )
    batch_size: int = setting(
        16, "--batch-size", "Images per optimiser step, over all processes.", ge=1, le=16_384
    )
    workers: int = setting(
        0, "--workers", "Loader processes; 0 loads in the main process.", ge=0, le=1024
    )
    validation: float = setting(
        0.1,
        "--validation",
        "Share of the training images, per class, held out for validation, where the data set has "
        "no validation images of its own; 0 for none, its own are then trained on.",
        ge=0,
        lt=1,
    )
    test: float = setting(
        0.2,
        "--test-share",
        "Share of the images, per class, held out for testing, where the data set has no splits.",
        ge=0,
        lt=1,
    )
    split_seed: int = setting(
        0, "--split-seed", "Seed of the splits made here.", ge=0, le=bounds.SEED
    )
    skip_bad_images: float = setting(
        0.0,
        "--skip-bad-images",
        "Share of the images that may be unreadable: they are named and left out. 0 stops at the "
        "first.",
        ge=0,
        lt=1,
    )
    allow_links: bool = setting(
        False,
        "--allow-links",
        "Take images that links in the data set's folder fetch from outside it; without this they "
        "are refused, as a data set from elsewhere must not reach your other files.",
    )
    cache: Path | None = setting(
        None,
        "--cache",
        "Folder written by 'macnn data cache' to read images from; none reads their files.",
    )

    @field_validator("root", "cache")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None or path == Path("none") else absolute(path)
