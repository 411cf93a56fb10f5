"""The five operators of MA-CNN: plain PyTorch everywhere, Triton on CUDA devices."""

from macnn_kernels.channel_clusters import ChannelClusters, cluster_channels
from macnn_kernels.channel_grouping import channel_grouping
from macnn_kernels.channel_peaks import Peaks, channel_peaks, peak_gram
from macnn_kernels.grouping_loss import GroupingLossTerms, grouping_loss
from macnn_kernels.part_attention import PartAttention, part_attention

__all__ = [
    "ChannelClusters",
    "GroupingLossTerms",
    "PartAttention",
    "Peaks",
    "channel_grouping",
    "channel_peaks",
    "cluster_channels",
    "grouping_loss",
    "part_attention",
    "peak_gram",
]
