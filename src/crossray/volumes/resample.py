"""Other grids for the same volume; every voxel keeps its place in the patient."""

import math
from dataclasses import replace
from itertools import permutations

import torch
from jaxtyping import Float
from torch import Tensor

from crossray.errors import InputError
from crossray.volumes.volume import AIR_HU, Volume


def crop(volume: Volume, box: tuple[slice, slice, slice]) -> Volume:
    """Cut a box of voxels out of a volume.

    Args:
        volume: Any volume.
        box: Ranges of voxel indices along z, y and x, such as `body_box` gives; no steps.

    Returns:
        The voxels of the box at the world positions they had.

    Raises:
        InputError: A box with steps, or one that holds no voxel.
    """
    ranges = [cut.indices(size) for cut, size in zip(box, volume.values.shape, strict=True)]
    if any(step != 1 or stop <= start for start, stop, step in ranges):
        raise InputError(
            f"The box {box} cuts no voxels out of {volume.name} with shape "
            f"{tuple(volume.values.shape)}; give slices without steps that lie in the volume."
        )
    first_voxel = torch.tensor([start for start, _, _ in reversed(ranges)], dtype=torch.float64)
    values = volume.values[tuple(slice(start, stop) for start, stop, _ in ranges)]
    return replace(volume, values=values, world_from_voxel=_moved(volume, first_voxel, 1.0))


def widened(volume: Volume, margin_mm: float) -> Volume:
    """The volume with air added on its four sides along z, at least `margin_mm` wide."""
    x, y = (math.ceil(margin_mm / step) for step in volume.spacing[:2])
    values = torch.nn.functional.pad(volume.values, (x, x, y, y), value=AIR_HU)
    affine = volume.world_from_voxel.clone()
    affine[:3, 3] -= affine[:3, :2] @ torch.tensor([x, y], dtype=torch.float64)
    return replace(volume, values=values, world_from_voxel=affine)


def resample(volume: Volume, spacing_mm: float | tuple[float, float, float]) -> Volume:
    """Interpolate a volume linearly on a grid of another spacing.

    The new grid has the axes and the centre of the old one and covers its extent (voxels counted to
    their edges) up to half a new voxel; beyond the outermost voxel centres the values continue
    unchanged. Nothing is smoothed first: a much coarser grid picks values rather than averaging.

    Args:
        volume: Any volume.
        spacing_mm: Distance between the new voxel centres in mm, one for all axes or (x, y, z).

    Returns:
        The resampled volume in the same world frame.

    Raises:
        InputError: A spacing that is not positive.
    """
    wanted = torch.as_tensor(spacing_mm, dtype=torch.float64).expand(3)
    if not (torch.isfinite(wanted) & (wanted > 0)).all():
        raise InputError(f"spacing_mm={spacing_mm} must be positive, in mm; try 1.0.")
    values = volume.values
    step = wanted / torch.tensor(volume.spacing, dtype=torch.float64)
    first = torch.zeros(3, dtype=torch.float64)
    for axis in range(3):
        old = values.shape[2 - axis]
        new = max(1, round(old / float(step[axis])))
        first[axis] = (old - 1) / 2 - float(step[axis]) * (new - 1) / 2
        at = first[axis] + step[axis] * torch.arange(new, dtype=torch.float64)
        values = interpolate(values, at, dim=2 - axis)
    return replace(volume, values=values, world_from_voxel=_moved(volume, first, step))


def interpolate(
    values: Float[Tensor, "z y x"], at: Float[Tensor, " sample"], dim: int
) -> Float[Tensor, "_ _ _"]:
    """Values at fractional indices along one axis, linear between them and constant beyond the ends."""
    at = at.clamp(0, values.shape[dim] - 1).to(values.device)
    low = at.floor().long().clamp(max=max(0, values.shape[dim] - 2))
    high = (low + 1).clamp(max=values.shape[dim] - 1)
    shape = [1, 1, 1]
    shape[dim] = -1
    weight = (at - low).to(values.dtype).reshape(shape)
    size = list(values.shape)
    size[dim] = len(at)
    result = values.new_empty(size)
    across = 1 if dim == 0 else 0  # slab by slab, since a copy is gathered of either neighbour
    for some, target in zip(values.split(16, across), result.split(16, across), strict=True):
        target.copy_(torch.lerp(some.index_select(dim, low), some.index_select(dim, high), weight))
    return result


def _moved(
    volume: Volume, first: Float[Tensor, " 3"], step: Float[Tensor, " 3"] | float
) -> Float[Tensor, "4 4"]:
    """The affine of a grid whose voxel (0, 0, 0) lies at old voxel `first`, scaled by `step`."""
    affine = volume.world_from_voxel.clone()
    affine[:3, 3] += affine[:3, :3] @ first
    affine[:3, :3] *= step
    return affine


def along_patient(volume: Volume) -> Volume:
    """The same voxels with their axes reordered and reversed to run nearest to left, back and head.

    Args:
        volume: Any volume.

    Returns:
        A volume whose x, y and z indices rise towards left, posterior and superior, each voxel where it was.
    """
    steps = volume.world_from_voxel[:3, :3]
    share = (steps / torch.linalg.norm(steps, dim=0)).abs()
    order = max(permutations(range(3)), key=lambda axes: float(share[range(3), axes].sum()))
    signs = [float(steps[world, axis].sign()) for world, axis in enumerate(order)]
    values = volume.values.permute([2 - axis for axis in reversed(order)])
    values = values.flip([2 - world for world in range(3) if signs[world] < 0])
    change = torch.zeros(4, 4, dtype=torch.float64)
    change[3, 3] = 1
    for world, axis in enumerate(order):
        change[axis, world] = signs[world]
        change[axis, 3] = 0 if signs[world] > 0 else values.shape[2 - world] - 1
    return replace(volume, values=values, world_from_voxel=volume.world_from_voxel @ change)
