"""Attention maps and part features from features and channel weights."""

from macnn_kernels.part_attention.op import PartAttention, part_attention

__all__ = ["PartAttention", "part_attention"]
