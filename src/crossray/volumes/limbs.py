"""The limbs of a scan, each as a volume of its own: both legs, both hands, a leg beside a hand.

Limbs that do not touch are parts of their own. Limbs that touch are parted where the body is narrowest: it is eroded
until two cores are left, and every voxel goes to the core it is nearest to. That is done only where the parts touch
over little, and where a bone runs along each part or a side of the volume cuts it off; a thigh stays with its hip.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Int
from torch import Tensor

from crossray.volumes.resample import crop
from crossray.volumes.table import (
    BODY_HU,
    Spacing,
    body_box,
    coarse_mask,
    label,
    on_grid,
    part_sizes,
)
from crossray.volumes.volume import AIR_HU, Volume

_COARSE_MM = 3.0
_STEP_MM = 3.0  # by which the body is eroded further and further
_SHARE = 0.1  # of the largest part or core; what is smaller is no limb
_BONE_HU, _BONE_SHARE = 250.0, 0.25
_BONE_SLICES = 0.5  # a limb holds bone in at least so many of its slices
_CONTACT = (
    0.5  # largest area over which two limbs touch, relative to the smaller one's volume ** (2 / 3)
)


def split_limbs(volume: Volume) -> list[Volume]:
    """Part a scan into its limbs.

    Args:
        volume: CT in HU after `remove_table`, any spacing and orientation.

    Returns:
        One volume for every part that holds bone in at least half of its slices, cropped to it, everything else -1000
        HU, from the patient's right to the left by position. Two limbs are named "leg.nii, limb 1 of 2" and so on.
        Where there is one part, or none with bone, the whole volume cropped to the body. A piece that no bone runs
        along, such as the edge of the other thigh, is left out, with a note. Limbs that are pressed together over a
        broad area stay together.

    Raises:
        InputError: Nothing lies above `BODY_HU`.
    """
    body, spacing = coarse_mask(volume, BODY_HU, _COARSE_MM)
    bone, _ = coarse_mask(volume, _BONE_HU, _COARSE_MM, _BONE_SHARE)
    parts = _divided(body, bone, spacing)
    bony = [part for part in parts if _holds_bone(part, bone)]
    if len(parts) < 2 or not bony:
        return [crop(volume, body_box(volume))]
    if len(bony) < len(parts):
        left_out = (
            f"{volume.name}: left out {len(parts) - len(bony)} piece(s) beside the limb that no bone runs along, such "
            "as the edge of the other leg."
        )
        volume = replace(volume, notes=(*volume.notes, left_out))
    nearest = _nearest(parts, spacing)
    limbs = [
        _alone(volume, on_grid(nearest == number, spacing, volume))
        for number, part in enumerate(parts, 1)
        if any(part is other for other in bony)
    ]
    limbs.sort(key=lambda limb: float(limb.center[0]))
    if len(limbs) == 1:
        return limbs
    return [
        replace(limb, name=f"{volume.name}, limb {i} of {len(limbs)}")
        for i, limb in enumerate(limbs, 1)
    ]


def _alone(volume: Volume, own: Bool[Tensor, "z y x"]) -> Volume:
    alone = replace(volume, values=volume.values.where(own, AIR_HU))
    return crop(alone, body_box(alone))


def _divided(
    body: Bool[np.ndarray, "z y x"], bone: Bool[np.ndarray, "z y x"], spacing: Spacing
) -> list[Bool[np.ndarray, "z y x"]]:
    """The parts of a body, each divided further as long as it can be."""
    parts = _large(label(body, reach=3))
    if len(parts) == 1:
        parts = _parted(parts[0], bone, spacing)
    if len(parts) == 1:
        return parts
    return [piece for part in parts for piece in _divided(part, bone, spacing)]


def _large(labels: Int[np.ndarray, "z y x"]) -> list[Bool[np.ndarray, "z y x"]]:
    sizes = part_sizes(labels)[1:]
    large = np.flatnonzero(sizes >= max(1, _SHARE * sizes.max(initial=0)))
    return [labels == number + 1 for number in large]


def _parted(
    body: Bool[np.ndarray, "z y x"], bone: Bool[np.ndarray, "z y x"], spacing: Spacing
) -> list[Bool[np.ndarray, "z y x"]]:
    """A connected body, parted where it is narrow; itself where it is not, or where a part is no limb."""
    from scipy import ndimage

    # Beyond the volume the body goes on, so its cut faces are not eroded.
    padded = np.pad(body, 1, mode="edge")
    depth = np.empty(padded.shape)
    ndimage.distance_transform_edt(padded, sampling=spacing[::-1], distances=depth)
    depth = depth[1:-1, 1:-1, 1:-1]
    for radius in np.arange(_STEP_MM, depth.max(), _STEP_MM):
        cores = _large(label(depth > radius, reach=3))
        if len(cores) > 1:
            owner = _nearest(cores, spacing)
            parts = [body & (owner == number + 1) for number in range(len(cores))]
            if all(
                _holds_bone(part, bone) or _is_cut_off(part) for part in parts
            ) and _touch_little(np.where(body, owner, 0), spacing):
                return parts
    return [body]


def _nearest(parts: list[Bool[np.ndarray, "z y x"]], spacing: Spacing) -> Int[np.ndarray, "z y x"]:
    """For every voxel the number, from 1, of the part nearest to it."""
    from scipy import ndimage

    numbers = np.zeros(parts[0].shape, np.int32)
    for number, part in enumerate(parts, 1):
        numbers[part] = number
    where = np.empty((3, *numbers.shape), np.int32)
    ndimage.distance_transform_edt(
        numbers == 0,
        sampling=spacing[::-1],
        return_distances=False,
        return_indices=True,
        indices=where,
    )
    return numbers[tuple(where)]


def _holds_bone(part: Bool[np.ndarray, "z y x"], bone: Bool[np.ndarray, "z y x"]) -> bool:
    slices = part.any(axis=(1, 2))
    return bool((part & bone).any(axis=(1, 2)).sum() >= _BONE_SLICES * slices.sum())


def _is_cut_off(part: Bool[np.ndarray, "z y x"]) -> bool:
    """Whether a part reaches a side of the volume, so that its bone may lie beyond."""
    return any(side.any() for side in (part[:, 0], part[:, -1], part[:, :, 0], part[:, :, -1]))


def _touch_little(owner: Int[np.ndarray, "z y x"], spacing: Spacing) -> bool:
    """Whether the face between the parts is small against the smallest of them."""
    x, y, z = spacing
    contact = 0.0
    for axis, face in enumerate((x * y, x * z, y * z)):
        low, high = np.delete(owner, -1, axis), np.delete(owner, 0, axis)
        contact += face * float(((low != high) & (low > 0) & (high > 0)).sum())
    smallest = np.bincount(owner.ravel())[1:].min() * x * y * z
    return bool(contact <= _CONTACT * smallest ** (2 / 3))
