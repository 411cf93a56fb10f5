"""Pooled features to channel weights: N grouped pairs of fully-connected layers."""

from macnn_kernels.channel_grouping.op import channel_grouping

__all__ = ["channel_grouping"]
