"""How compact each attention map is, and how far apart the maps are: Dis and Div."""

from macnn_kernels.grouping_loss.op import GroupingLoss, grouping_loss

__all__ = ["GroupingLoss", "grouping_loss"]
