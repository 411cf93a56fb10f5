"""What a network said about the images of a split, and the file that keeps it."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from macnn.errors import DataError
from macnn.evaluation.telemetry import TelemetryFigures
from macnn.files import write_bytes
from macnn.model.alignment import CellGrid


@dataclass(frozen=True)
class Predictions:
    """What a network says about the n images of a loader, on the CPU.

    Attributes:
        samples: (n,) indices into the image set.
        labels: (n,) classes.
        logits: (n, N, classes), one row per classifier, or None before there are any.
        joint: (n, classes) logits of the joint prediction, None likewise.
        attention: (n, N, H, W) float16 maps; this and all below is None for the baseline, which
            has no parts.
        centres: (n, N, 2) where the parts are, `(x, y)` in pixels of the stored images.
        owners: (n, keypoints) part that owns each keypoint.
        grid: where in the network input the cells of a map are.
        telemetry: state of the maps; not kept in the file.
    """

    samples: Tensor
    labels: Tensor
    logits: Tensor | None
    joint: Tensor | None
    attention: Tensor | None
    centres: Tensor | None
    owners: Tensor | None
    grid: CellGrid | None
    telemetry: TelemetryFigures | None


def write_predictions(file: Path, predictions: Predictions) -> None:
    """Write predictions as safetensors, replacing the file whole.

    Raises:
        OSError: it cannot be written.
    """
    names = ("samples", "labels", "logits", "joint", "attention", "centres", "owners")
    tensors = {name: getattr(predictions, name) for name in names}
    if (grid := predictions.grid) is not None:
        tensors["grid"] = torch.tensor([grid.size, grid.offset, grid.stride])
    write_bytes(file, save({k: t.contiguous() for k, t in tensors.items() if t is not None}))


def read_predictions(file: Path) -> Predictions:
    """Read what `write_predictions` wrote.

    Raises:
        DataError: there is no such file, or it is damaged.
    """
    try:
        tensors = load_file(file)
        return Predictions(
            samples=tensors["samples"],
            labels=tensors["labels"],
            logits=tensors.get("logits"),
            joint=tensors.get("joint"),
            attention=tensors.get("attention"),
            centres=tensors.get("centres"),
            owners=tensors.get("owners"),
            grid=_grid(tensors["grid"]) if "grid" in tensors else None,
            telemetry=None,
        )
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DataError(
            f"{file}: cannot be read ({error})", hint="run 'macnn eval' again"
        ) from None


def _grid(rows: Tensor) -> CellGrid:
    (width, height), (left, top), (across, down) = rows.tolist()
    return CellGrid((int(width), int(height)), (left, top), (across, down))
