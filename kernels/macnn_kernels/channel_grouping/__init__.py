"""Pooled features to channel weights: N grouped pairs of fully-connected layers."""

from .op import channel_grouping

__all__ = ["channel_grouping"]
