"""The terms of the grouping loss: Dis (maps are compact) and Div (maps are apart)."""

from macnn_kernels.grouping_loss.op import GroupingLossTerms, grouping_loss

__all__ = ["GroupingLossTerms", "grouping_loss"]
