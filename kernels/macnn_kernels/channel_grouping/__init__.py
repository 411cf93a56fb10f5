"""Channel weights from pooled features: a pair of fully-connected layers for every part."""

from macnn_kernels.channel_grouping.op import channel_grouping

__all__ = ["channel_grouping"]
