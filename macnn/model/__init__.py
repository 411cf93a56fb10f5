"""What MA-CNN is: backbones, channel grouping, part attention, classifiers, part CNN."""

from macnn.model.network import Network, NetworkSpec, Output, build_network
from macnn.model.part_cnn import PartCNN, PartCNNSpec, build_part_cnn

Model = Network | PartCNN
"""Whatever a checkpoint can hold."""

__all__ = [
    "Model",
    "Network",
    "NetworkSpec",
    "Output",
    "PartCNN",
    "PartCNNSpec",
    "build_network",
    "build_part_cnn",
]
