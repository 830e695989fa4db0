"""Cameras to and from the descriptions that other programs use, without loss.

World positions stay in millimetres in the patient frame LPS, but for nanodrr, whose world is RAS. What a description
does not hold (the detector's size, its distance) is an argument on the way back.
"""

from crossray.geometry.formats.astra import from_astra, to_astra
from crossray.geometry.formats.nanodrr import NanodrrViews, from_nanodrr, to_nanodrr
from crossray.geometry.formats.pinhole import Pinholes, from_pinholes, to_pinholes
from crossray.geometry.formats.plastimatch import (
    PlastimatchView,
    from_geometry_file,
    from_plastimatch,
    to_geometry_file,
    to_plastimatch,
)
from crossray.geometry.formats.rtk import RtkView, from_rtk, to_rtk

__all__ = [
    "NanodrrViews",
    "Pinholes",
    "PlastimatchView",
    "RtkView",
    "from_astra",
    "from_geometry_file",
    "from_nanodrr",
    "from_pinholes",
    "from_plastimatch",
    "from_rtk",
    "to_astra",
    "to_geometry_file",
    "to_nanodrr",
    "to_pinholes",
    "to_plastimatch",
    "to_rtk",
]
