"""How far exports are from their original on photographs: writes docs/figures/exports.json.

python tools/exports.py CHECKPOINT    a trained run; its data set must be where it was
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from macnn.commands.export import export
from macnn.events import silent
from macnn.files import write_json
from macnn.inference.formats import FORMATS, Run
from macnn.inference.recogniser import Recognition, open_recogniser
from macnn.runs.checkpoint import read_checkpoint
from macnn.runs.environment import environment
from macnn.runs.setup import open_images, open_loader

FILE = Path(__file__).parents[1] / "docs" / "figures" / "exports.json"
SMALL, LARGE = 1, 16  # batches


def compare(path: Path) -> dict[str, Any]:
    """Export a checkpoint in every format, and run all of them on its test images."""
    checkpoint = read_checkpoint(path)
    settings = checkpoint.settings
    loader = open_loader(settings, open_images(settings).split("test"))
    images = torch.cat([batch.images for batch in loader.epoch(0)])
    original = open_recogniser(checkpoint).eval()
    expected = _answers(original, images, LARGE)
    formats = {}
    with TemporaryDirectory() as scratch:
        for name, form in FORMATS.items():
            folder = Path(scratch, name)
            export(checkpoint, folder, name, tolerance=1e-4, overwrite=False, listen=silent)
            formats[name] = _apart(expected, _answers(form.run(folder), images, LARGE))
    known = environment()
    return {
        "made_by": f"python tools/exports.py {path}",
        "commit": known["commit"],
        "packages": known["packages"],
        "images": len(images),
        "boxes": expected.boxes.shape[0] * expected.boxes.shape[1],
        "formats": formats,
        "batches": _apart(expected, _answers(original, images, SMALL)),
    }


@torch.inference_mode()
def _answers(run: Run, images: Tensor, batch: int) -> Recognition:
    pieces = [run(piece) for piece in images.split(batch)]
    return Recognition(*map(torch.cat, zip(*pieces, strict=True)))


def _apart(one: Recognition, other: Recognition) -> dict[str, float]:
    probabilities = one.logits.softmax(1) - other.logits.softmax(1)
    return {
        "logit": (one.logits - other.logits).abs().max().item(),
        "probability": probabilities.abs().max().item(),
        "other_classes": int((one.logits.argmax(1) != other.logits.argmax(1)).sum()),
        "other_boxes": int(((one.boxes - other.boxes).abs() > 0.1).any(dim=2).sum()),
    }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write_json(FILE, compare(Path(sys.argv[1])))
