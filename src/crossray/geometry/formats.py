"""Cameras to and from the descriptions that other programs use, without loss.

World positions stay in millimetres in the patient frame LPS, but for nanodrr, whose world is RAS. What a description
does not hold (the detector's size, its distance) is an argument on the way back.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from crossray.errors import InputError
from crossray.geometry.camera import Cameras

_RAS_FROM_LPS = torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64).diag()


@dataclass(frozen=True, eq=False)
class Pinholes:
    """Pinhole cameras: world X lies on pixel (column, row, 1) ~ K (R X + t), pixel centres at whole numbers.

    Args:
        intrinsic: K, upper triangular, its last row (0, 0, 1). Its second diagonal element is negative where rows run
            against the third axis times the first, as they do where the patient is seen from the detector.
        rotation: R, from the world to the camera, whose first axis runs along detector rows and third to the detector.
        translation: t, mm.
        sdd_mm: Distance of the source from the detector's plane; K alone does not tell it.
        size: Detector rows and columns.
    """

    intrinsic: Float[Tensor, "view 3 3"]
    rotation: Float[Tensor, "view 3 3"]
    translation: Float[Tensor, "view 3"]
    sdd_mm: Float[Tensor, " view"]
    size: tuple[int, int]


def to_pinholes(cameras: Cameras) -> Pinholes:
    """The cameras as K [R | t].

    Example:
        >>> camera = Cameras.from_angles(0, 0, sod_mm=1000, sdd_mm=1100, size=(3, 5), pixel_mm=2)
        >>> pinhole = to_pinholes(camera)
        >>> pinhole.intrinsic[0].tolist()
        [[550.0, 0.0, 2.0], [0.0, -550.0, 1.0], [0.0, 0.0, 1.0]]
    """
    x_axis = _unit(cameras.column_step)
    normal = _unit(torch.linalg.cross(cameras.column_step, cameras.row_step))
    distance = ((cameras.first_pixel - cameras.source) * normal).sum(1)
    z_axis = normal * distance.sign()[:, None]
    rotation = torch.stack([x_axis, torch.linalg.cross(z_axis, x_axis), z_axis], 1)
    row, column, depth = cameras.projection_matrices()[:, :, :3].unbind(1)
    pixels = torch.stack([column, row, depth], 1) * distance.abs()[:, None, None]
    intrinsic = pixels @ rotation.mT
    translation = -(rotation @ cameras.source[:, :, None])[:, :, 0]
    return Pinholes(_upper(intrinsic), rotation, translation, distance.abs(), cameras.size)


def from_pinholes(pinholes: Pinholes) -> Cameras:
    """Cameras of K [R | t]; K may be scaled.

    Raises:
        InputError: A singular K, a distance of 0 or less, or shapes that differ.
    """
    k, rotation = pinholes.intrinsic.double(), pinholes.rotation.double()
    distance = torch.as_tensor(pinholes.sdd_mm, dtype=torch.float64)
    if (torch.linalg.det(k).abs() < 1e-12).any() or (distance <= 0).any():
        raise InputError(
            "A pinhole camera needs an invertible intrinsic matrix and sdd_mm > 0; check both."
        )
    # Directions of the world per (column, row, 1), reaching the detector's plane.
    rays = rotation.mT @ torch.linalg.inv(k)
    reach = (rotation[:, 2, :, None] * rays).sum(1)[:, 2]
    rays = rays * (distance / reach)[:, None, None]
    source = -(rotation.mT @ pinholes.translation.double()[:, :, None])[:, :, 0]
    column_step, row_step, first = rays.unbind(2)
    return Cameras(source, source + first, column_step, row_step, pinholes.size)


def to_astra(cameras: Cameras) -> Float[Tensor, "view 12"]:
    """Rows of ASTRA's `cone_vec`: source, middle of the detector, step to the next column, step to the next row."""
    rows, columns = cameras.size
    middle = (
        cameras.first_pixel
        + (rows - 1) / 2 * cameras.row_step
        + (columns - 1) / 2 * cameras.column_step
    )
    return torch.cat([cameras.source, middle, cameras.column_step, cameras.row_step], 1)


def from_astra(vectors: Float[Tensor, "view number"], size: tuple[int, int]) -> Cameras:
    """Cameras of ASTRA's `cone_vec`.

    Args:
        vectors: One row a view.
        size: Detector rows and columns.

    Raises:
        InputError: Not twelve numbers a view, or no camera.
    """
    vectors = torch.atleast_2d(torch.as_tensor(vectors, dtype=torch.float64))
    if vectors.shape[-1] != 12:
        raise InputError(
            f"ASTRA's cone_vec holds 12 numbers a view, not {vectors.shape[-1]}; give its Vectors."
        )
    source, middle, column_step, row_step = vectors.split(3, dim=1)
    first = middle - (size[0] - 1) / 2 * row_step - (size[1] - 1) / 2 * column_step
    return Cameras(source, first, column_step, row_step, size)


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
    u, v = _unit(camera.column_step)[0], _unit(camera.row_step)[0]
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


@dataclass(frozen=True, eq=False)
class NanodrrViews:
    """Arguments of nanodrr's `render`; its world is RAS, its pixel centres lie half a pixel in.

    Args:
        k_inv: Inverse intrinsic matrices.
        rt_inv: Camera to world.
        sdd: Source to detector, mm.
        height: Detector rows.
        width: Detector columns.
    """

    k_inv: Float[Tensor, "view 3 3"]
    rt_inv: Float[Tensor, "view 4 4"]
    sdd: Float[Tensor, " view"]
    height: int
    width: int


def to_nanodrr(cameras: Cameras) -> NanodrrViews:
    """The cameras as nanodrr's arguments, float64."""
    pinholes = to_pinholes(cameras)
    k = _shifted(pinholes.intrinsic, 0.5)
    rt_inv = torch.eye(4, dtype=torch.float64).repeat(len(cameras), 1, 1)
    rt_inv[:, :3, :3] = _RAS_FROM_LPS @ pinholes.rotation.mT
    rt_inv[:, :3, 3] = cameras.source @ _RAS_FROM_LPS
    return NanodrrViews(torch.linalg.inv(k), rt_inv, pinholes.sdd_mm, *cameras.size)


def from_nanodrr(views: NanodrrViews) -> Cameras:
    """Cameras of nanodrr's arguments."""
    rotation = (_RAS_FROM_LPS @ views.rt_inv[:, :3, :3].double()).mT
    source = views.rt_inv[:, :3, 3].double() @ _RAS_FROM_LPS
    translation = -(rotation @ source[:, :, None])[:, :, 0]
    k = _shifted(torch.linalg.inv(views.k_inv.double()), -0.5)
    size = (views.height, views.width)
    return from_pinholes(Pinholes(k, rotation, translation, views.sdd.double(), size))


def _unit(vectors: Float[Tensor, "view 3"]) -> Float[Tensor, "view 3"]:
    return vectors / torch.linalg.norm(vectors, dim=1, keepdim=True)


def _upper(matrices: Float[Tensor, "view 3 3"]) -> Float[Tensor, "view 3 3"]:
    """Without the rounding below the diagonal, and with a last element of 1."""
    return torch.triu(matrices) / matrices[:, 2:, 2:]


def _shifted(intrinsic: Float[Tensor, "view 3 3"], pixels: float) -> Float[Tensor, "view 3 3"]:
    """Intrinsic matrices of a grid whose whole numbers lie `pixels` further down and right."""
    shift = torch.eye(3, dtype=torch.float64)
    shift[:2, 2] = pixels
    return shift @ intrinsic
