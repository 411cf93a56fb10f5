"""Writes synthetic birds to disk in the layout of CUB-200-2011."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from macnn import events
from macnn.data.synth.classes import PARTS, all_species, species_name
from macnn.data.synth.picture import draw_picture
from macnn.errors import DiskError, UsageError
from macnn.files import whole_folder
from macnn.reading import why

_SMALLEST = 32  # pixels; below this a marking is less than one pixel wide


def write_birds(
    output: Path,
    *,
    classes: int = 16,
    images_per_class: int = 60,
    size: int = 224,
    seed: int = 0,
    listen: events.Listener = events.silent,
) -> None:
    """Draw a data set of birds into the folder `output`, in the layout of CUB-200-2011.

    Two thirds of each class are for training. The same arguments give the same bytes. `output`
    appears only when it is complete.

    Args:
        output: a folder that does not exist yet, or is empty.
        classes: a product of four numbers of colours, one per part, each 2 to 4.
        images_per_class: at least 2, so that both splits hold every class.
        size: side of the square images in pixels.
        seed: any non-negative integer.
        listen: called with progress events.

    Raises:
        UsageError: an argument is out of range, or `output` is not empty.
        DiskError: the folder could not be written.
    """
    if images_per_class < 2:
        raise UsageError(
            f"images_per_class: {images_per_class} leaves a split empty", hint="ask for 2 or more"
        )
    if size < _SMALLEST:
        raise UsageError(
            f"size: {size} px is too small to see the parts", hint=f"ask for {_SMALLEST} or more"
        )
    if seed < 0:
        raise UsageError(f"seed: {seed} is negative", hint="use 0 or more")
    all_species(classes)
    try:
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise UsageError(
                f"output: {output} exists and is not an empty folder",
                hint="name another folder, or delete this one first",
            )
        with whole_folder(output) as root:
            _write(root, classes, images_per_class, size, seed, listen)
    except OSError as error:
        raise DiskError(
            f"output: {output} could not be written ({why(error)})",
            hint="check free space and permissions, or name another folder",
        ) from error


def _write(
    root: Path, classes: int, images_per_class: int, size: int, seed: int, listen: events.Listener
) -> None:
    species = all_species(classes)
    colours = sorted({colour for kind in species for colour in kind})
    folders = [f"{k:03d}.{species_name(kind)}" for k, kind in enumerate(species, start=1)]
    for folder in folders:
        Path(root, "images", folder).mkdir(parents=True)

    images, labels, splits, boxes, locations = [], [], [], [], []
    plan = [(k, number) for k in range(classes) for number in range(images_per_class)]
    task = "drawing birds"
    for identity, (k, number) in enumerate(events.track(plan, task, len(plan), listen), start=1):
        # Each picture has its own stream: it does not depend on how many others there are.
        rng = np.random.default_rng((seed, k, number))
        picture = draw_picture(species[k], rng, colours=colours, size=size)
        path = f"{folders[k]}/{species_name(species[k])}_{number + 1:04d}.jpg"
        with Path(root, "images", path).open("xb") as stream:
            picture.image.save(stream, format="JPEG", quality=92, subsampling=0)
        box = picture.box
        images.append(f"{identity} {path}")
        labels.append(f"{identity} {k + 1}")
        splits.append(f"{identity} {int(number % 3 != 1)}")
        boxes.append(f"{identity} {box.x:.1f} {box.y:.1f} {box.width:.1f} {box.height:.1f}")
        locations += [
            f"{identity} {part} {x:.1f} {y:.1f} 1"
            for part, (x, y) in enumerate(picture.keypoints, start=1)
        ]

    Path(root, "parts").mkdir()
    _write_lines(Path(root, "images.txt"), images)
    _write_lines(Path(root, "image_class_labels.txt"), labels)
    _write_lines(Path(root, "train_test_split.txt"), splits)
    _write_lines(Path(root, "bounding_boxes.txt"), boxes)
    _write_lines(Path(root, "classes.txt"), _numbered(folders))
    _write_lines(Path(root, "parts", "parts.txt"), _numbered(PARTS))
    _write_lines(Path(root, "parts", "part_locs.txt"), locations)


def _numbered(names: Iterable[str]) -> list[str]:
    return [f"{number} {name}" for number, name in enumerate(names, start=1)]


def _write_lines(path: Path, lines: list[str]) -> None:
    with path.open("x", encoding="utf-8", newline="\n") as stream:
        stream.writelines(f"{line}\n" for line in lines)
