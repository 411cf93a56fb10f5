"""`model.json`: what an exported model is, for people and programs that have only its folder."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from macnn import __version__
from macnn.config import Settings
from macnn.errors import CheckpointError
from macnn.inference.preprocessing import preprocessing
from macnn.inference.recogniser import Recogniser
from macnn.model import NetworkSpec, PartCNNSpec
from macnn.reading import sha256
from macnn.runs.checkpoint import Checkpoint

DESCRIPTION = "model.json"
FORMAT = 1


def describe(
    checkpoint: Checkpoint, recogniser: Recogniser, file: Path, file_format: str
) -> dict[str, Any]:
    """Describe a checkpoint as exported to `file`: classes, preprocessing, inputs and outputs."""
    classes, size = len(checkpoint.class_names), recogniser.image_size
    parts = checkpoint.network.parts
    return {
        "format": FORMAT,
        "macnn": __version__,
        "file": file.name,
        "file_format": file_format,
        "sha256": sha256(file, CheckpointError),
        "kind": checkpoint.kind,
        "step": checkpoint.step,
        "classes": list(checkpoint.class_names),
        "preprocessing": preprocessing(checkpoint).describe(recogniser),
        "inputs": {"images": {"dtype": "uint8", "shape": ["batch", 3, size, size]}},
        "outputs": {
            "logits": {
                "dtype": "float32",
                "shape": ["batch", classes],
                "meaning": "their softmax is the probability of each class, in the order given",
            },
            "boxes": {
                "dtype": "float32",
                "shape": ["batch", parts, 4],
                "meaning": "left, top, right, bottom of each part, in pixels of the input",
                "share_of_the_input": recogniser.box_share,
            },
        },
        "network": asdict(checkpoint.network),
    }


def read_export(folder: Path) -> Checkpoint:
    """Read back an export in safetensors, as the checkpoint it was made from.

    Raises:
        CheckpointError: the folder holds another format, or is damaged.
    """
    file = folder / DESCRIPTION
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["file_format"] != "safetensors":
            raise CheckpointError(
                f"{folder}: exported as {content['file_format']}, which runs without macnn",
                hint="its README.md says how; macnn loads run folders and safetensors exports",
            )
        if sha256(folder / content["file"], CheckpointError) != content["sha256"]:
            raise CheckpointError(
                f"{folder / content['file']}: damaged (SHA-256)", hint="export again"
            )
        return Checkpoint(
            folder=folder,
            kind=content["kind"],
            step=content["step"],
            network=TypeAdapter(PartCNNSpec | NetworkSpec).validate_json(
                json.dumps(content["network"])
            ),
            class_names=tuple(content["classes"]),
            settings=Settings.model_validate(
                {"data": {"resize_mode": content["preprocessing"]["resize_mode"]}}
            ),
            digests={content["file"]: content["sha256"]},
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{file}: damaged ({type(error).__name__} {error})", hint="export again"
        ) from None
