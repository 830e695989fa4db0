"""The true correspondence between the patches of two or more views."""

import sys
from inspect import signature
from types import ModuleType
from typing import Any

from crossray.correspondence.ground_truth import band, correspondence, pixel_correspondence
from crossray.correspondence.labels import correspondence_by_label, weights_by_label
from crossray.correspondence.no_match import Visibility, visibility
from crossray.correspondence.patches import (
    BONE_WEIGHT,
    POSITIVE_ABOVE,
    TissueWeight,
    patch_grid,
)

__all__ = [
    "BONE_WEIGHT",
    "POSITIVE_ABOVE",
    "TissueWeight",
    "Visibility",
    "band",
    "correspondence",
    "correspondence_by_label",
    "patch_grid",
    "pixel_correspondence",
    "visibility",
    "weights_by_label",
]


class _CallableRoom(ModuleType):
    """Lets this room be called: it stands where the public function `crossray.correspondence` does.

    One object under one name, in every order of imports: `cr.correspondence(volume, cameras)` is
    the matrix and `cr.correspondence.blocks` a module of the room.
    """

    __signature__ = signature(correspondence)

    def __call__(self, *args: Any, **options: Any) -> Any:
        return correspondence(*args, **options)


sys.modules[__name__].__class__ = _CallableRoom
