"""Synthetic birds: a fine-grained data set whose classes differ in four small parts only."""

from macnn.data.synth.write import write_birds

__all__ = ["write_birds"]
