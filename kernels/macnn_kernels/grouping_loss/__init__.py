"""How compact each attention map is, and how far apart the maps are: Dis and Div."""

from .op import GroupingLoss, grouping_loss

__all__ = ["GroupingLoss", "grouping_loss"]
