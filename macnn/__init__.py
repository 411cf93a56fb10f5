"""MA-CNN: finds the parts that tell look-alike classes apart, from image labels only."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from macnn.api import evaluate, find_parts, linear_probe, localise, train
    from macnn.inference.loading import load
    from macnn.model import MACNN, PartLocator, PooledClassifier, create_backbone
    from macnn.training.losses import GroupingLoss, part_classification_loss

__all__ = [
    "MACNN",
    "GroupingLoss",
    "PartLocator",
    "PooledClassifier",
    "__version__",
    "create_backbone",
    "evaluate",
    "find_parts",
    "linear_probe",
    "load",
    "localise",
    "part_classification_loss",
    "train",
]
__version__ = "0.1.0"

_HOMES = {
    "macnn.api": ("evaluate", "find_parts", "linear_probe", "localise", "train"),
    "macnn.inference.loading": ("load",),
    "macnn.model": ("MACNN", "PartLocator", "PooledClassifier", "create_backbone"),
    "macnn.training.losses": ("GroupingLoss", "part_classification_loss"),
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: all bring PyTorch, and `macnn --help` needs none."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'macnn' has no attribute '{name}'")
