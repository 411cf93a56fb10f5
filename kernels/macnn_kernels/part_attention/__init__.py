"""Channel weights to attention maps and part features, in one pass over the features."""

from macnn_kernels.part_attention.op import PartAttention, part_attention

__all__ = ["PartAttention", "part_attention"]
