"""The layout of Flowers-102. Its files hold no class names; torchvision has them."""

from pathlib import Path

from macnn.data.layouts.layout import Layout, assemble, from_one, holds, need
from macnn.data.layouts.matlab import MatFile
from macnn.data.samples import ImageSet, Sample, Split
from macnn.errors import DataError
from macnn.text import shown

IDS: dict[str, Split] = {"trnid": "train", "valid": "validation", "tstid": "test"}
TREE = """\
flowers-102/
    imagelabels.mat        labels: class of every image, from 1
    setid.mat              trnid, valid, tstid: numbers of the images, from 1
    jpg/image_00001.jpg
"""


def recognise(root: Path) -> str | None:
    """Either MATLAB file is enough."""
    return holds(root, (root / "imagelabels.mat", root / "setid.mat"))


def read_flowers(root: Path) -> ImageSet:
    """Read a folder in the layout of Flowers-102.

    Raises:
        DataError: a missing or unreadable file, a class that is not 1 to 102, a split that names
            an image without label, a class without training images.
    """
    from torchvision.datasets import Flowers102

    need(root, "Flowers-102", "imagelabels.mat", "setid.mat", "jpg")
    names: list[str] = Flowers102.classes
    labels = MatFile(root / "imagelabels.mat").values("labels", int)
    sets = MatFile(root / "setid.mat")
    samples = []
    for variable, split in IDS.items():
        for identity in sets.values(variable, int):
            if not 1 <= identity <= len(labels):
                raise DataError(
                    f"{shown(root / 'setid.mat')}: {variable} names image {identity}, "
                    f"imagelabels.mat has {len(labels)} labels from 1"
                )
            where = f"{shown(root / 'imagelabels.mat')}: image {identity}"
            path = root / "jpg" / f"image_{identity:05d}.jpg"
            samples.append(Sample(path, from_one(labels[identity - 1], len(names), where), split))
    return assemble("flowers", root, samples, names)


FLOWERS = Layout("flowers", "Flowers-102", TREE, recognise, read_flowers)
