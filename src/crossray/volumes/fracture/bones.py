"""The bones of a CT, and the places where a long one can break."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int16
from torch import Tensor

from crossray.errors import InputError
from crossray.volumes.resample import resample, widened
from crossray.volumes.table import label, part_sizes
from crossray.volumes.volume import Volume

_BONE_HU = 220.0
_SMALLEST_MM3 = 700.0  # half a phalanx
_CLOSING_MM = 2.0
_TRIALS, _LEAST = 400, 10  # places looked at in a volume, and how many of them must do
_THIN_MM = 2.0  # distance of the voxels that stand for a bone
_LONG = 1.5  # a bone is long where its stretch is this much longer than wide
_FLAT = 1.8  # and flat, so no long bone, where it is this much wider than thick
_RADII_MM = (2.5, 28.0)
_ASIDE_MM = 15.0  # more than a break moves a limb aside
_AIR_MM = (_ASIDE_MM, _ASIDE_MM, 0.0)  # along x, y and z
_WALL_MM = 12.0  # least distance of a break from the measured volume's faces
_STRETCH = 2.5  # length of bone, in radii to either side, that tells its axis
_SLAB_MM = 3.0  # half the thickness of a section
_FEWEST = 30
_COMPACT = (
    0.6  # share of the disc about its section that a bone fills; less are two bones, or a bent one
)
_ALONE = 0.93  # share of a section's bone from which the rest of the limb moves along


@dataclass(frozen=True, eq=False)
class Site:
    """A place where a long bone can break.

    Args:
        bone: Its number in `Bones.labels`.
        center: Middle of the bone's section, world mm.
        axis: Along the bone, towards its nearer end, of length 1.
        radius_mm: Of a circle of the section's area.
        reach_mm: How far the bone goes on from the centre, against the axis and along it.
        alone: It is nearly all the bone of its section, so that what lies beyond moves with it.
    """

    bone: int
    center: Float[np.ndarray, "3"]
    axis: Float[np.ndarray, "3"]
    radius_mm: float
    reach_mm: tuple[float, float]
    alone: bool

    @property
    def row(self) -> tuple[float, ...]:
        """As numbers, to keep it in an array."""
        return (self.bone, *self.center, *self.axis, self.radius_mm, *self.reach_mm, self.alone)

    @classmethod
    def from_row(cls, row: Float[np.ndarray, " number"]) -> "Site":
        """What `row` kept."""
        bone, radius, low, high, alone = row[[0, 7, 8, 9, 10]].tolist()
        return cls(int(bone), row[1:4], row[4:7], radius, (low, high), bool(alone))


@dataclass(frozen=True, eq=False)
class Bones:
    """A volume made ready for breaking.

    Args:
        native: HU as they were measured, with air about them.
        volume: The same on a grid of equal spacing, on which a break is cut: the intact twin.
        labels: The bone, marrow included, that each voxel of `volume` belongs to; 0 for none.
        sites: Where it can break.
    """

    native: Volume
    volume: Volume
    labels: Int16[Tensor, "z y x"]
    sites: tuple[Site, ...]


def on_grids(volume: Volume, spacing_mm: float) -> tuple[Volume, Volume]:
    """`Bones.native` and `Bones.volume`: the volume with air about it, so that what a break moves aside stays in it."""
    native = widened(volume, _ASIDE_MM)
    return native, resample(native, spacing_mm)


def find_bones(volume: Volume, spacing_mm: float = 1.0) -> Bones:
    """Find the bones of a CT and the places where they can break; the same for the same volume.

    Bone lies above 220 HU; what it encloses belongs to it. A place counts where the bone about it is clearly longer
    than wide and lies away from the volume's faces: shafts and the flares at their ends, not carpal bones or a pelvis.

    Args:
        volume: CT in HU after `remove_table`, or a phantom; any spacing and orientation.
        spacing_mm: Of the grid that breaks are cut on, finer than most slices so that a break is sharp.

    Raises:
        InputError: No long bone, or a spacing that is not positive.
    """
    native, fine = on_grids(volume, spacing_mm)
    labels = _label_bones(fine.values.numpy() > _BONE_HU, spacing_mm)
    sites = tuple(_sites(labels, fine))
    if len(sites) < _LEAST:
        raise InputError(
            f"{volume.name} holds no long bone that could break away from its faces; give a CT of a limb in HU."
        )
    return Bones(native, fine, torch.from_numpy(labels), sites)


def _label_bones(bone: Bool[np.ndarray, "z y x"], spacing: float) -> np.ndarray:
    """Numbers of the bones from 1, their marrow filled; specks are left out."""
    from scipy import ndimage

    labels = label(bone, reach=3)
    large = part_sizes(labels) * spacing**3 >= _SMALLEST_MM3
    large[0] = False
    found = np.zeros(bone.shape, np.int16)
    boxes = ndimage.find_objects(labels)
    for count, number in enumerate(np.flatnonzero(large), 1):
        box = boxes[number - 1]
        whole = _filled(labels[box] == number, round(_CLOSING_MM / spacing))
        found[box][np.logical_and(whole, found[box] == 0)] = count
    return found


def _filled(part: Bool[np.ndarray, "z y x"], reach: int) -> Bool[np.ndarray, "z y x"]:
    """A bone closed over small gaps and filled in each of its sections, whatever way they are cut."""
    from scipy import ndimage

    padded = np.pad(part, reach)
    closed = ndimage.binary_closing(padded, iterations=reach) if reach else padded
    inner = closed[tuple(slice(reach, side - reach) for side in closed.shape)]
    for axis in range(3):
        flat = np.zeros((3, 3, 3), bool)
        flat[1] = ndimage.generate_binary_structure(2, 1)
        holes = ndimage.binary_fill_holes(inner, np.moveaxis(flat, 0, axis))
        inner = np.logical_or(inner, holes)
    return inner


def _sites(labels: np.ndarray, fine: Volume) -> Iterator[Site]:
    """The long stretches among places drawn from all bones."""
    from scipy.spatial import KDTree

    spacing = fine.spacing[0]
    z, y, x = (np.arange(0, side, _THIN_MM / spacing).astype(int) for side in labels.shape)
    thin = labels[np.ix_(z, y, x)]
    points = np.argwhere(thin)[:, ::-1] * _THIN_MM  # (x, y, z) in mm from the first voxel
    owner = thin[thin > 0]
    own = {int(number): points[owner == number] for number in np.unique(owner)}
    trees = {number: KDTree(some) for number, some in own.items()}
    ends = np.array(fine.values.shape[::-1]) * spacing
    axes = fine.world_from_voxel.numpy()[:3, :3] / spacing
    first = fine.world_from_voxel.numpy()[:3, 3]
    trials = np.random.default_rng(0).permutation(len(points))[:_TRIALS]
    for number, start in zip(owner[trials].tolist(), points[trials], strict=True):
        found = _stretch(trees[number], start)
        if found is None:
            continue
        center, axis, radius = found
        if (np.minimum(center, ends - center) - _AIR_MM < _WALL_MM + radius).any():
            continue
        low, high = _reach(own[number], center, axis, radius)
        if low < high:
            axis, low, high = -axis, high, low
        section = np.abs((points - center) @ axis) < _SLAB_MM
        share = (owner[section] == number).mean()
        world = axes @ center + first
        yield Site(number, world, axes @ axis, radius, (low, high), bool(share >= _ALONE))


def _stretch(
    tree: Any, start: Float[np.ndarray, "3"]
) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Centre, axis and radius of the bone about a place, in mm; None where it is not long."""
    center, radius, axis, spreads = start, 8.0, np.zeros(3), np.zeros(3)
    for _ in range(3):
        near = tree.data[tree.query_ball_point(center, _STRETCH * radius + 4.0)]
        if len(near) < _FEWEST:
            return None
        spreads, vectors = np.linalg.eigh(np.cov(near.T))
        axis = vectors[:, 2]
        section = near[np.abs((near - center) @ axis) < _SLAB_MM]
        if len(section) < 4:
            return None
        offset = section.mean(0) - center
        center = center + offset - (offset @ axis) * axis
        across = np.cross(section - center, axis)
        radius = float(
            np.sqrt(2 * (across**2).sum(1).mean())
        )  # a disc's is its mean square times 2
        filled = len(section) * _THIN_MM**3 / (2 * _SLAB_MM * np.pi * radius**2)
        if filled < _COMPACT or radius > _RADII_MM[1]:
            return None
    long = spreads[2] >= _LONG**2 * spreads[1] and spreads[1] <= _FLAT**2 * spreads[0]
    return (center, axis, radius) if long and radius >= _RADII_MM[0] else None


def _reach(
    points: Float[np.ndarray, "voxel 3"],
    center: Float[np.ndarray, "3"],
    axis: Float[np.ndarray, "3"],
    radius: float,
) -> tuple[float, float]:
    """How far a bone goes on from a place against its axis and along it, within a tube about that."""
    offset = points - center
    along = offset @ axis
    tube = along[np.linalg.norm(np.cross(offset, axis), axis=1) < 2.5 * radius]
    return float(-tube.min()), float(tube.max())
