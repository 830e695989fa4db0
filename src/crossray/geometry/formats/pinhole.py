"""Pinhole cameras, K [R | t]."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from crossray.errors import InputError
from crossray.geometry.camera import Cameras


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
    x_axis = unit(cameras.column_step)
    normal = unit(torch.linalg.cross(cameras.column_step, cameras.row_step))
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


def unit(vectors: Float[Tensor, "view 3"]) -> Float[Tensor, "view 3"]:
    """Vectors of length 1."""
    return vectors / torch.linalg.norm(vectors, dim=1, keepdim=True)


def _upper(matrices: Float[Tensor, "view 3 3"]) -> Float[Tensor, "view 3 3"]:
    """Without the rounding below the diagonal, and with a last element of 1."""
    return torch.triu(matrices) / matrices[:, 2:, 2:]
