"""RTK's circular geometry."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from crossray.errors import InputError
from crossray.geometry.camera import Cameras
from crossray.geometry.formats.pinhole import unit


@dataclass(frozen=True)
class RtkView:
    """One view of RTK's ThreeDCircularProjectionGeometry, in the names of its XML, and its detector's pixels.

    Angles in degrees, lengths in mm. The projection image's origin is (0, 0): the offsets say where its first pixel is.

    Args:
        gantry_angle: About y.
        out_of_plane_angle: About x.
        in_plane_angle: About z.
        source_to_isocenter: RTK's isocentre is the world's origin.
        source_to_detector: Perpendicular to the detector.
        source_offset: Of the source along detector rows and columns.
        projection_offset: Of the first pixel along detector rows and columns.
        spacing: Of pixels along a row and along a column.
    """

    gantry_angle: float
    out_of_plane_angle: float
    in_plane_angle: float
    source_to_isocenter: float
    source_to_detector: float
    source_offset: tuple[float, float]
    projection_offset: tuple[float, float]
    spacing: tuple[float, float]


def to_rtk(cameras: Cameras) -> list[RtkView]:
    """The cameras as RTK's parameters.

    Raises:
        InputError: Detector axes that are not at right angles, or a mirrored detector; RTK has neither.
    """
    return [_to_rtk_view(cameras[view]) for view in range(len(cameras))]


def from_rtk(views: list[RtkView], size: tuple[int, int]) -> Cameras:
    """Cameras of RTK's parameters.

    Args:
        views: At least one.
        size: Detector rows and columns.
    """
    return Cameras.stack([_from_rtk_view(view, size) for view in views])


def _to_rtk_view(camera: Cameras) -> RtkView:
    u, v = unit(camera.column_step)[0], unit(camera.row_step)[0]
    n = torch.linalg.cross(u, v)
    source, first = camera.source[0], camera.first_pixel[0]
    if abs(float(u @ v)) > 1e-9:
        raise InputError("RTK knows only detectors whose rows and columns meet at right angles.")
    if float((source - first) @ n) < 0:
        raise InputError(
            "RTK knows no mirrored detector; turn row_step or column_step round first."
        )
    out = math.degrees(math.atan2(-n[1], math.hypot(n[0], n[2])))
    gantry = math.degrees(math.atan2(n[0], n[2]))
    # What is left is a turn about the normal, also where the other two turn about one axis.
    upright = _rotation(0, -out) @ _rotation(1, -gantry)
    inside = math.degrees(math.atan2(u @ upright[1], u @ upright[0]))
    isocenter = float(source @ n)
    return RtkView(
        gantry,
        out,
        inside,
        source_to_isocenter=isocenter,
        source_to_detector=isocenter - float(first @ n),
        source_offset=(float(source @ u), float(source @ v)),
        projection_offset=(float(first @ u), float(first @ v)),
        spacing=(float(camera.column_step.norm()), float(camera.row_step.norm())),
    )


def _from_rtk_view(view: RtkView, size: tuple[int, int]) -> Cameras:
    # Rows: the detector's u, v and the normal towards the source.
    turn = (
        _rotation(2, -view.in_plane_angle)
        @ _rotation(0, -view.out_of_plane_angle)
        @ _rotation(1, -view.gantry_angle)
    )
    source = torch.tensor([*view.source_offset, view.source_to_isocenter], dtype=torch.float64)
    depth = view.source_to_isocenter - view.source_to_detector
    first = torch.tensor([*view.projection_offset, depth], dtype=torch.float64)
    vectors = (source @ turn, first @ turn, view.spacing[0] * turn[0], view.spacing[1] * turn[1])
    return Cameras(*(vector[None] for vector in vectors), size=size)


def _rotation(axis: int, degrees: float) -> Float[Tensor, "3 3"]:
    """Right-handed turn about x, y or z."""
    angle = math.radians(degrees)
    matrix = torch.eye(3, dtype=torch.float64)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix[i, i] = matrix[j, j] = math.cos(angle)
    matrix[j, i], matrix[i, j] = math.sin(angle), -math.sin(angle)
    return matrix
