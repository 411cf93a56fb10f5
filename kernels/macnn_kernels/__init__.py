"""The five operators of MA-CNN: plain PyTorch everywhere, Triton on CUDA devices."""

from macnn_kernels.channel_clusters import ChannelClusters, cluster_channels
from macnn_kernels.channel_peaks import Peaks, channel_peaks, peak_gram

__all__ = [
    "ChannelClusters",
    "Peaks",
    "channel_peaks",
    "cluster_channels",
    "peak_gram",
]
