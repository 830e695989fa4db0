"""nanodrr's arguments; its world is RAS."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from crossray.geometry.camera import Cameras
from crossray.geometry.formats.pinhole import Pinholes, from_pinholes, to_pinholes

_RAS_FROM_LPS = torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64).diag()


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


def _shifted(intrinsic: Float[Tensor, "view 3 3"], pixels: float) -> Float[Tensor, "view 3 3"]:
    """Intrinsic matrices of a grid whose whole numbers lie `pixels` further down and right."""
    shift = torch.eye(3, dtype=torch.float64)
    shift[:2, 2] = pixels
    return shift @ intrinsic
