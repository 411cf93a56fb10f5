"""`macnn.load`: a trained model from a run folder, a checkpoint or an export."""

from pathlib import Path

import torch

from macnn.inference.description import DESCRIPTION, read_export
from macnn.inference.predictor import Predictor
from macnn.inference.preprocessing import preprocessing
from macnn.inference.recogniser import open_recogniser
from macnn.runs.checkpoint import read_checkpoint


def load(path: str | Path, *, device: str | torch.device | None = None) -> Predictor:
    """Load a trained model.

    Args:
        path: a run folder (its latest checkpoint), one of its `checkpoints/step-N`, or a folder
            that `macnn export --format safetensors` wrote.
        device: where to compute; by default CUDA where there is one, else the CPU.

    Raises:
        CheckpointError: there is no model there, it is damaged, or it has no classifier.
    """
    folder = Path(path)
    checkpoint = (
        read_export(folder) if (folder / DESCRIPTION).is_file() else read_checkpoint(folder)
    )
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return Predictor(
        open_recogniser(checkpoint),
        checkpoint.class_names,
        preprocessing(checkpoint),
        torch.device(device),
    )
