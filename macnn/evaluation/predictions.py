"""What a network said about the images of a split, and the file that keeps it."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from macnn.bounds import CLASSES, COUNT, PARTS, SCALE
from macnn.errors import DataError
from macnn.evaluation.figures import AGAIN
from macnn.files import write_bytes
from macnn.model.alignment import CellGrid
from macnn.tensors import read_tensors
from macnn.text import shown

# Type, sizes and largest magnitude of each tensor; sizes of one letter are equal.
FORMS: dict[str, tuple[torch.dtype, tuple[str | int, ...], float]] = {
    "samples": (torch.int64, ("n",), COUNT),
    "labels": (torch.int64, ("n",), CLASSES),
    "classifier_logits": (torch.float32, ("n", "classifiers", "K"), SCALE),
    "logits": (torch.float32, ("n", "K"), SCALE),
    "attention": (torch.float16, ("n", "N", "H", "W"), 1),
    "centres": (torch.float32, ("n", "N", 2), 1e6),
    "owners": (torch.int64, ("n", "keypoints"), PARTS),
    "grid": (torch.float32, (3, 2), 1e4),
}
SCORES = ("logits", "classifier_logits")
PLACES = ("attention", "centres", "owners", "grid")
GROUPS = ({"samples", "labels"}, {*SCORES}, {*PLACES})  # none of a group without the others


@dataclass(frozen=True)
class Scores:
    """What the classifiers of a model say about n images.

    logits: (n, K) of all classifiers together. classifier_logits: (n, classifiers, K) of each.
    """

    logits: Tensor
    classifier_logits: Tensor


@dataclass(frozen=True)
class Places:
    """Where the parts of n images are.

    attention: (n, N, H, W) float16 maps. centres: (n, N, 2) where the parts are, `(x, y)` in pixels
    of the stored images. owners: (n, keypoints) part that owns each keypoint. grid: where in the
    network input the cells of a map are.
    """

    attention: Tensor
    centres: Tensor
    owners: Tensor
    grid: CellGrid


@dataclass(frozen=True)
class Predictions:
    """What a model says about the n images of a loader, on the CPU.

    samples: (n,) indices into the image set. labels: (n,) classes. scores: None before there are
    classifiers. places: None for the baseline, which has no parts.
    """

    samples: Tensor
    labels: Tensor
    scores: Scores | None
    places: Places | None


def write_predictions(file: Path, predictions: Predictions) -> None:
    """Write predictions as safetensors, replacing the file whole.

    Raises:
        OSError: it cannot be written.
    """
    tensors = {"samples": predictions.samples, "labels": predictions.labels}
    if predictions.scores is not None:
        tensors |= vars(predictions.scores)
    if (places := predictions.places) is not None:
        grid = torch.tensor([places.grid.size, places.grid.offset, places.grid.stride])
        tensors |= vars(places) | {"grid": grid}
    write_bytes(file, save({name: tensor.contiguous() for name, tensor in tensors.items()}))


def read_predictions(file: Path) -> Predictions:
    """Read what `write_predictions` wrote.

    Raises:
        DataError: there is no such file, or it is damaged.
    """
    tensors = read_tensors(file, DataError, hint=AGAIN)
    try:
        _check(tensors)
    except ValueError as error:
        raise DataError(f"{shown(file)}: damaged ({error})", hint=AGAIN) from None
    places = None
    if "attention" in tensors:
        attention, centres, owners, grid = (tensors[name] for name in PLACES)
        places = Places(attention, centres, owners, _grid(grid))
    return Predictions(
        samples=tensors["samples"],
        labels=tensors["labels"],
        scores=Scores(*(tensors[name] for name in SCORES)) if "logits" in tensors else None,
        places=places,
    )


def _check(tensors: dict[str, Tensor]) -> None:
    """Check that all tensors are there, fit each other and hold what they may.

    Raises:
        ValueError: names the one that does not.
    """
    sizes: dict[str | int, int] = {2: 2, 3: 3}
    found = [group for group in GROUPS if group & tensors.keys()]
    if missing := {"samples", *set().union(*found)} - tensors.keys():
        raise ValueError(f"{', '.join(sorted(missing))}: missing")
    for name, (dtype, form, largest) in FORMS.items():
        if (tensor := tensors.get(name)) is None:
            continue
        if tensor.dtype != dtype or tensor.dim() != len(form):
            raise ValueError(f"{name}: expected {dtype} of {len(form)} dimensions")
        for letter, size in zip(form, tensor.shape, strict=True):
            if sizes.setdefault(letter, size) != size or (size == 0 and letter != "keypoints"):
                raise ValueError(f"{name}: shape {tuple(tensor.shape)}")
        if tensor.numel() and not tensor.abs().amax().item() <= largest:
            raise ValueError(f"{name}: not finite, or beyond {largest:g}")
        if dtype in (torch.int64, torch.float16) and (tensor < 0).any():
            raise ValueError(f"{name}: negative")
    if len(tensors["samples"].unique()) < sizes["n"]:
        raise ValueError("samples: an image comes twice")
    if "logits" in tensors and (tensors["labels"] >= sizes["K"]).any():
        raise ValueError("labels: more classes than logits")
    if "attention" in tensors:
        if sizes["N"] > PARTS or (tensors["owners"] >= sizes["N"]).any():
            raise ValueError("owners: not parts of the attention, or too many")
        if (tensors["attention"].amax(dim=(2, 3)) == 0).any():
            raise ValueError("attention: zero everywhere")
        grid = _grid(tensors["grid"])
        if grid.size != (sizes["W"], sizes["H"]) or min(grid.stride) <= 0:
            raise ValueError("grid: not that of the attention")


def _grid(rows: Tensor) -> CellGrid:
    (width, height), (left, top), (across, down) = rows.tolist()
    return CellGrid((int(width), int(height)), (left, top), (across, down))
