"""Removing the couch and everything else that lies on or under the body, and where the body is.

A couch is a thin shell, a limb is solid: an opening by a ball that fits into a limb but not into
the shell separates the two wherever they touch.
"""

from dataclasses import replace
from itertools import product

import numpy as np
import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor
from torch.nn.functional import avg_pool3d

from crossray.errors import InputError
from crossray.volumes.volume import AIR_HU, Volume

BODY_HU = -300.0
"""Fat and skin lie above, air, clothes and foam below."""

_CORE_MM = 3.0  # thicker than the shell of a couch, thinner than a fingertip
_SKIN_MM = 2.0  # the partly filled voxels around the skin belong to it
_SHARE = 0.1  # a second limb is at least so large against the first, a cable is not
_COARSE_MM = 1.0

Spacing = tuple[float, float, float]
"""Along x, y and z, in mm."""
Box = tuple[slice, slice, slice]
"""Ranges of voxel indices along z, y and x."""


def remove_table(volume: Volume) -> Volume:
    """Set everything to air that does not belong to the body: couch, cushions, blankets, cables.

    The tissue (above `BODY_HU`) is opened by a ball of 3 mm radius, parts smaller than a tenth of
    the largest are dropped, and the rest gets a margin of 2 mm for the skin. Air inside the body,
    closed within an axial slice, stays as it is. A part of the body thinner than the ball (a small
    child's fingertip) is lost.

    Args:
        volume: CT in HU, any spacing and orientation; slices along the volume's z axis.

    Returns:
        The same grid, -1000 HU outside the body.

    Raises:
        InputError: No solid part is left; the volume holds no body, or its values are not HU.
    """
    solid, spacing = coarse_mask(volume, BODY_HU, _COARSE_MM)
    core = _eroded(solid, spacing, _CORE_MM)
    if not core.any():
        raise InputError(
            f"{volume.name} holds no body: no part above {BODY_HU:g} HU is thicker than "
            f"{2 * _CORE_MM:g} mm; check that its values are HU and its spacing is in mm."
        )
    opened = _large_parts(_dilated(core, spacing, _CORE_MM))
    kept = on_grid(_fill_slices(_dilated(opened, spacing, _SKIN_MM)), spacing, volume)
    return replace(volume, values=volume.values.where(kept, AIR_HU))


def body_box(volume: Volume, threshold: float = BODY_HU, margin_mm: float = 0.0) -> Box:
    """The smallest box of voxels that holds everything above a threshold.

    Args:
        volume: CT in HU, best after `remove_table`.
        threshold: Tissue lies above it, in HU.
        margin_mm: How much to add on every side, in mm, as far as the volume goes.

    Returns:
        Slices along z, y and x, for `crop`.

    Raises:
        InputError: Nothing lies above the threshold.
    """
    tissue = volume.values > threshold
    if not tissue.any():
        raise InputError(
            f"{volume.name} holds nothing above {threshold:g} HU; give a CT in HU or a lower "
            "threshold."
        )
    z, y, x = (
        _range(tissue.any(dim=others[1]).any(dim=others[0]), int(margin_mm // spacing))
        for others, spacing in zip(((1, 2), (0, 2), (0, 1)), volume.spacing[::-1], strict=True)
    )
    return z, y, x


def cut_faces(volume: Volume, threshold: float = BODY_HU) -> dict[str, float]:
    """How much of each face of the volume is body, that is, where the scan or a crop cuts through.

    Args:
        volume: CT in HU after `remove_table`.
        threshold: Tissue lies above it, in HU.

    Returns:
        Share of the voxels of a face, 0 to 1, under "x_low", "x_high", "y_low", "y_high", "z_low"
        and "z_high", where low means the first index. Limbs are cut in z, trunk and hip also in x
        and y.
    """
    tissue = volume.values > threshold
    return {
        f"{name}_{end}": float(tissue.select(axis, index).float().mean())
        for axis, name in ((2, "x"), (1, "y"), (0, "z"))
        for end, index in (("low", 0), ("high", -1))
    }


def coarse_mask(
    volume: Volume, threshold: float, coarse_mm: float, share: float = 0.5
) -> tuple[Bool[np.ndarray, "z y x"], Spacing]:
    """Blocks of voxels up to some mm wide, of which more than a share is above a threshold; their spacing."""
    blocks = [max(1, int(coarse_mm / spacing + 1e-3)) for spacing in volume.spacing]
    layers = []
    for slab in volume.values.split(8 * blocks[2]):
        above = (slab.cpu() > threshold).float()[None]
        kernel = (min(blocks[2], len(slab)), blocks[1], blocks[0])
        layers.append(avg_pool3d(above, kernel, ceil_mode=True)[0] > share)
    x, y, z = (block * spacing for block, spacing in zip(blocks, volume.spacing, strict=True))
    return torch.cat(layers).numpy(), (x, y, z)


def on_grid(
    blocks: Shaped[np.ndarray, "z y x"], spacing: Spacing, volume: Volume
) -> Shaped[Tensor, "z_fine y_fine x_fine"]:
    """What was found for blocks of voxels, for every voxel of the volume."""
    fine = torch.from_numpy(blocks)
    for axis, (coarse, step) in enumerate(zip(spacing[::-1], volume.spacing[::-1], strict=True)):
        fine = fine.repeat_interleave(round(coarse / step), dim=axis)
    depth, height, width = volume.values.shape
    return fine[:depth, :height, :width].to(volume.values.device)


def _eroded(
    mask: Bool[np.ndarray, "z y x"], spacing: Spacing, radius: float
) -> Bool[np.ndarray, "z y x"]:
    """Where a ball fits into a mask; beyond the volume counts as inside, where a limb goes on."""
    return ~_dilated(~mask, spacing, radius)


def _dilated(
    mask: Bool[np.ndarray, "z y x"], spacing: Spacing, radius: float
) -> Bool[np.ndarray, "z y x"]:
    """Every voxel whose centre lies within a radius in mm of the centre of one in the mask.

    The ball is a stack of rods along x: few lengths, each made once, shifted in y and z.
    """
    x, y, z = (int(radius / step) for step in spacing)
    rod = np.pad(mask, ((z, z), (y, y), (x, x)))
    rods = [rod[:, :, x : rod.shape[2] - x]]
    for length in range(1, x + 1):
        low, high = x - length, rod.shape[2] - x + length
        left, right = rod[:, :, low : high - 2 * length], rod[:, :, low + 2 * length : high]
        rods.append(rods[-1] | left | right)
    ball = np.zeros_like(mask)
    for dz, dy in product(range(-z, z + 1), range(-y, y + 1)):
        rest = radius**2 - (dz * spacing[2]) ** 2 - (dy * spacing[1]) ** 2
        if rest >= 0:
            shifted = rods[int(rest**0.5 / spacing[0])]
            ball |= shifted[z + dz :, y + dy :][: mask.shape[0], : mask.shape[1]]
    return ball


def _large_parts(mask: Bool[np.ndarray, "z y x"]) -> Bool[np.ndarray, "z y x"]:
    labels = label(mask, reach=3)
    sizes = part_sizes(labels)
    sizes[0] = 0
    return _of_labels(sizes >= max(1, _SHARE * sizes.max()), labels)


def _fill_slices(mask: Bool[np.ndarray, "z y x"]) -> Bool[np.ndarray, "z y x"]:
    """Fill what a mask encloses within a slice; a lung or bowel is open where the volume ends."""
    labels = label(~mask, reach=2)
    outside = np.zeros(labels.max() + 1, dtype=bool)
    for edge in (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        outside[edge] = True
    outside[0] = False
    return _of_labels(~outside, labels)


def _of_labels(
    kept: Bool[np.ndarray, " part"], labels: Int[np.ndarray, "z y x"]
) -> Bool[np.ndarray, "z y x"]:
    """`kept[labels]`, slice by slice, since numpy makes indices of 8 bytes."""
    mask = np.empty(labels.shape, bool)
    for target, plane in zip(mask, labels, strict=True):
        target[:] = kept[plane]
    return mask


def part_sizes(labels: Int[np.ndarray, "z y x"]) -> Int[np.ndarray, " part"]:
    """Voxels of each number, slice by slice, since numpy counts in 8 bytes."""
    sizes = np.zeros(labels.max() + 1, np.int64)
    for plane in labels:
        sizes += np.bincount(plane.ravel(), minlength=len(sizes))
    return sizes


def label(mask: Bool[np.ndarray, "z y x"], reach: int) -> Int[np.ndarray, "z y x"]:
    """Number the parts of a mask from 1, connected over faces in 3-D or, reach 2, in each slice."""
    from scipy import ndimage

    faces = ndimage.generate_binary_structure(3, 1)
    if reach == 2:
        faces[[0, 2]] = False
    labels = np.empty(mask.shape, dtype=np.int32)
    ndimage.label(mask, structure=faces, output=labels)
    return labels


def _range(occupied: Bool[Tensor, " voxel"], margin: int) -> slice:
    indices = occupied.nonzero()
    first, last = int(indices[0]), int(indices[-1])
    return slice(max(0, first - margin), min(len(occupied), last + margin + 1))
