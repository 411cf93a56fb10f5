"""MA-CNN: finds the parts that tell look-alike classes apart, from image labels only."""

__version__ = "0.1.0"
