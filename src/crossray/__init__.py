"""crossray finds what matches what between two or more radiographs of the same limb.

    import crossray as cr
    volume = cr.read_ct("leg.nii.gz")
    matches = cr.Matcher.load("small").match(["ap.png", "lat.dcm"])

The public names below are the contract: names are added, never renamed. Nothing is imported until a
name is used, so `import crossray` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crossray.correspondence.ground_truth import correspondence
    from crossray.data.radiographs import read_radiograph
    from crossray.data.sample import Sample, make_sample
    from crossray.errors import InputError
    from crossray.geometry.camera import Cameras
    from crossray.matching import Matcher, Matches
    from crossray.models.guidance import guide
    from crossray.projection import project
    from crossray.projection.appearance import render
    from crossray.volumes.io import read_ct
    from crossray.volumes.phantom import phantom
    from crossray.volumes.volume import Volume

__version__ = "0.1.0"

__all__ = [
    "Cameras",
    "InputError",
    "Matcher",
    "Matches",
    "Sample",
    "Volume",
    "__version__",
    "correspondence",
    "guide",
    "make_sample",
    "phantom",
    "project",
    "read_ct",
    "read_radiograph",
    "render",
]

_HOMES = {
    "Cameras": "crossray.geometry.camera",
    "InputError": "crossray.errors",
    "Matcher": "crossray.matching",
    "Matches": "crossray.matching",
    "Sample": "crossray.data.sample",
    "Volume": "crossray.volumes.volume",
    "guide": "crossray.models.guidance",
    "make_sample": "crossray.data.sample",
    "phantom": "crossray.volumes.phantom",
    "project": "crossray.projection",
    "read_ct": "crossray.volumes.io",
    "read_radiograph": "crossray.data.radiographs",
    "render": "crossray.projection.appearance",
}


def __getattr__(name: str) -> object:
    if name == "correspondence":  # the room itself is callable: one object under one name
        return import_module("crossray.correspondence")
    if name not in _HOMES:
        raise AttributeError(f"module 'crossray' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
