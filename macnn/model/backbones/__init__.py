"""Backbones: our own small one, and any network of torchvision or timm, cut at its taps.

Everything behind the last tap is removed. Parameter names stay the library's, so weight files load
as they are.
"""

from macnn.model.backbones.backbone import Backbone, BackboneSpec, Features, both, input_config
from macnn.model.backbones.create import create_backbone
from macnn.model.backbones.inputs import InputConfig
from macnn.model.backbones.shapes import ShapesOnly, map_shapes

__all__ = [
    "Backbone",
    "BackboneSpec",
    "Features",
    "InputConfig",
    "ShapesOnly",
    "both",
    "create_backbone",
    "input_config",
    "map_shapes",
]
