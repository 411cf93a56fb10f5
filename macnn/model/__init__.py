"""What MA-CNN is: backbones, channel grouping, part attention, classifiers, part CNN."""

from macnn.model.backbones import Backbone, create_backbone
from macnn.model.locator import PartLocator, PartModel, Parts
from macnn.model.macnn import MACNN, Output, PooledClassifier, PooledOutput
from macnn.model.part_cnn import PartCNN, PartCNNOutput
from macnn.model.specs import Model

__all__ = [
    "MACNN",
    "Backbone",
    "Model",
    "Output",
    "PartCNN",
    "PartCNNOutput",
    "PartLocator",
    "PartModel",
    "Parts",
    "PooledClassifier",
    "PooledOutput",
    "create_backbone",
]
