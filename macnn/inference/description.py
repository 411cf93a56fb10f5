"""`model.json`: what an exported model is, for people and programs that have only its folder."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from macnn import __version__
from macnn.config import Settings
from macnn.errors import CheckpointError
from macnn.inference.preprocessing import Preprocessing, preprocessing
from macnn.inference.recogniser import Recogniser
from macnn.model.specs import MACNNSpec, PartCNNSpec, PooledSpec
from macnn.reading import Document, parse_json, read_bytes, sha256
from macnn.runs.checkpoint import SPECS, Checkpoint, ClassName, Digest, Kind, Step
from macnn.text import shown

DESCRIPTION = "model.json"
MODEL = "model.safetensors"  # of the format that macnn loads
FORMAT = 5  # 4 did not say whether parts compete
FormatName = Literal["safetensors", "torch-export", "onnx"]


class _Named(Document):
    """What model.json has in every format."""

    file_format: FormatName


class _Export(Document):
    """As much of model.json as loading needs."""

    format: Literal[5]
    file: Literal["model.safetensors"]
    sha256: Digest
    kind: Kind
    step: Step
    classes: tuple[ClassName, ...]
    preprocessing: Preprocessing
    network: PartCNNSpec | MACNNSpec | PooledSpec

    @model_validator(mode="after")
    def _consistent(self) -> "_Export":
        if type(self.network) is not SPECS[self.kind]:
            raise ValueError(f"kind {self.kind} with another kind's network")
        if len(self.classes) != self.network.classes:
            raise ValueError(f"{len(self.classes)} names for {self.network.classes} classes")
        if self.preprocessing.size != self.network.image_size:
            raise ValueError(f"pictures of {self.preprocessing.size} px for another network")
        return self


def describe(
    checkpoint: Checkpoint, recogniser: Recogniser, file: Path, file_format: str
) -> dict[str, Any]:
    """Describe a checkpoint as exported to `file`: classes, preprocessing, inputs and outputs."""
    classes, size = len(checkpoint.class_names), recogniser.image_size
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
                "shape": ["batch", recogniser.parts, 4],
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
    file, hint = folder / DESCRIPTION, "export again"
    content = read_bytes(file, CheckpointError, hint=hint)
    named = parse_json(content, file, _Named, CheckpointError, hint=hint).file_format
    if named != "safetensors":
        raise CheckpointError(
            f"{shown(folder)}: exported as {named}, which runs without macnn",
            hint="its README.md says how; macnn loads run folders and safetensors exports",
        )
    found = parse_json(content, file, _Export, CheckpointError, hint=hint)
    how = found.preprocessing
    seen = {
        "image_size": how.size,
        "resize_mode": how.resize_mode,
        "interpolation": how.interpolation,
    }
    return Checkpoint(
        folder=folder,
        kind=found.kind,
        step=found.step,
        network=found.network,
        class_names=found.classes,
        settings=Settings.model_validate({"data": seen}),
        digests={MODEL: found.sha256},
    )
