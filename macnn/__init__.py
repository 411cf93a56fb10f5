"""MA-CNN: finds the parts that tell look-alike classes apart, from image labels only."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from macnn.inference.loading import load

__all__ = ["__version__", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import `load` when it is first used: it brings PyTorch, and `macnn --help` needs none."""
    if name == "load":
        from macnn.inference.loading import load

        return load
    raise AttributeError(f"module 'macnn' has no attribute '{name}'")
