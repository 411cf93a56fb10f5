"""Every setting, typed, with its default, unit and source; and how values are resolved."""

from macnn.config.resolve import Resolved, resolve
from macnn.config.settings import Settings

__all__ = ["Resolved", "Settings", "resolve"]
