"""The layouts in which people keep data sets: one file each, and how one is found."""

from macnn.data.layouts.find import LAYOUTS, Found, find, open_data_set
from macnn.data.layouts.layout import Layout

__all__ = ["LAYOUTS", "Found", "Layout", "find", "open_data_set"]
