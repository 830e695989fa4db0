"""Fractures: a bone of a CT or a phantom broken in the volume itself, so that every view shows the same break."""

from crossray.volumes.fracture.bones import Bones, Site, find_bones, on_grids
from crossray.volumes.fracture.breaking import Broken, apply_fracture, break_bone
from crossray.volumes.fracture.drawing import Fracture, FractureConfig, draw_fracture, draw_site

__all__ = [
    "Bones",
    "Broken",
    "Fracture",
    "FractureConfig",
    "Site",
    "apply_fracture",
    "break_bone",
    "draw_fracture",
    "draw_site",
    "find_bones",
    "on_grids",
]
