"""What MA-CNN is: backbones, channel grouping, part attention, classifiers."""

from macnn.model.network import Network, NetworkSpec, Output, build_network

__all__ = ["Network", "NetworkSpec", "Output", "build_network"]
