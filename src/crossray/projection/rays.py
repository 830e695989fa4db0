"""The float64 ray table that drives the projector and the footprints alike, so that image and truth agree."""

import os
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from crossray.errors import InputError
from crossray.geometry import Cameras
from crossray.volumes.volume import Volume

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
"""The kernels for GPUs run in numba's simulator, on tensors of the CPU: how they are tested without a GPU."""


@dataclass(frozen=True)
class RayTable:
    """Cameras seen from a volume's grid.

    The ray of pixel (row, column) of a view runs from `source` to `source + direction`, where
    direction = first + row * row_step + column * column_step, all in voxel indices (x, y, z). Its length in mm
    is sqrt(direction^T metric direction).

    Args:
        vectors: source, first (from the source to pixel (0, 0)), row_step and column_step in voxel indices (x, y, z).
        metric: Maps differences of voxel indices to squared mm.
        size: Detector rows and columns.
    """

    vectors: Float[Tensor, "view 4 3"]
    metric: Float[Tensor, "3 3"]
    size: tuple[int, int]


def ray_table(volume: Volume, cameras: Cameras) -> RayTable:
    """The rays of `cameras` in the voxel indices of `volume`.

    Raises:
        InputError: A source inside the volume.
    """
    inverse = volume.voxel_from_world
    source = cameras.source @ inverse[:3, :3].T + inverse[:3, 3]
    shape = torch.tensor(volume.values.shape[::-1])
    inside = ((source > -0.5) & (source < shape - 0.5)).all(1)
    if inside.any():
        view = int(inside.nonzero()[0])
        raise InputError(
            f"The source of view {view} lies inside {volume.name}; move the camera out (sod_mm is the distance "
            "from source to isocentre, in mm)."
        )
    directions = (cameras.first_pixel - cameras.source, cameras.row_step, cameras.column_step)
    vectors = torch.stack([source, *(v @ inverse[:3, :3].T for v in directions)], 1)
    world = volume.world_from_voxel[:3, :3]
    return RayTable(vectors.contiguous(), (world.T @ world).contiguous(), cameras.size)


def on_gpu(values: Tensor) -> bool:
    """Whether the kernels for NVIDIA GPUs are due."""
    return values.is_cuda or SIMULATED
