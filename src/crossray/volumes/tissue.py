"""From solid shapes to Hounsfield units: bone with its shell, sponge and marrow, in flesh, fat and skin."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crossray.volumes.shapes import Frame, Knots, Points, Shape, smooth_max, smooth_min
from crossray.volumes.volume import AIR_HU

FAT_HU, MARROW_HU = -100.0, -50.0
SKIN_HU, MUSCLE_HU, CARTILAGE_HU = 40.0, 55.0, 70.0
_REACH_MM = 9.0  # how far from a bone its distance is known
_SKIN_MM = 1.4
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Bone:
    """One bone: its shape in its own frame, z along its length, and how it is built inside.

    Args:
        name: Anatomical name.
        shape: Outer surface in the bone's own coordinates, mm.
        frame: Where it stands in the limb.
        cortex: Thickness of the dense shell in mm along the bone's z.
        marrow: How much of the inside is fatty marrow, 0 to 1, along the bone's z.
        gap_mm: Width of the joint space kept free to bones listed before it.
        plates: Open growth plates: (z, thickness) in mm.
        sponge_hu: Mean of the spongy inside.
        shrink_mm: How far the surface lies inside the shape (cartilage not yet bone).
    """

    name: str
    shape: Shape
    frame: Frame
    cortex: Knots = ((0.0, 0.9),)
    marrow: Knots = ((0.0, 0.0),)
    gap_mm: float = 1.6
    plates: Sequence[tuple[float, float]] = ()
    sponge_hu: float = 330.0
    shrink_mm: float = 0.0


@dataclass(frozen=True)
class Limb:
    """A limb as modelled, in design mm (before `scale`), left side, LPS directions.

    Args:
        bones: In carving order: each keeps its joint gap to those before it.
        flesh: Shapes whose filleted union is the skin's surface.
        lower: Lower corner (x, y, z) of the volume, mm.
        upper: Upper corner (x, y, z) of the volume, mm.
        pads: Places filled with fat.
        cords: Tendons and ligaments.
        fat_mm: Thickness of the fat under the skin.
        cover_mm: Least soft tissue over a bone.
        blend_mm: Fillet between the shapes of the flesh.
        rough_mm: Amplitude of the low-frequency waviness of bone surfaces.
        cortex_hu: Density of compact bone.
        scale: Size of the person: mm in the world per design mm.
        mirrored: Right instead of left.
    """

    bones: Sequence[Bone]
    flesh: Sequence[Shape]
    lower: np.ndarray
    upper: np.ndarray
    pads: Sequence[Shape] = ()
    cords: Sequence[Shape] = ()
    fat_mm: float = 3.0
    cover_mm: float = 2.0
    blend_mm: float = 10.0
    rough_mm: float = 0.5
    cortex_hu: float = 1450.0
    scale: float = 1.0
    mirrored: bool = False


@dataclass
class Grid:
    """Voxel centres of a volume in design mm, and smooth random fields over them."""

    axes: Points
    voxel_mm: float
    lower: np.ndarray
    upper: np.ndarray
    seed: int
    _lattices: dict[str, tuple[Tensor, Float[Tensor, " 3"]]] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along z, y, x."""
        x, y, z = self.axes
        return len(z), len(y), len(x)

    @property
    def whole(self) -> Box:
        """The box of every voxel."""
        return slice(None), slice(None), slice(None)

    def box(self, low: np.ndarray, high: np.ndarray, margin_mm: float) -> Box | None:
        """Slices [z, y, x] of the voxels between two corners, widened by a margin; None where there are none."""
        slices = []
        for axis, a, b in zip(self.axes, low - margin_mm, high + margin_mm, strict=True):
            first, last = np.searchsorted(axis.numpy(), [a, b])
            if first >= last:
                return None
            slices.append(slice(int(first), int(last)))
        return slices[2], slices[1], slices[0]

    def within(self, box: Box) -> Points:
        """Axes x, y, z of a box."""
        return self.axes[0][box[2]], self.axes[1][box[1]], self.axes[2][box[0]]

    def noise(
        self, name: str, cell_mm: tuple[float, float, float], box: Box
    ) -> Float[Tensor, "z y x"]:
        """A smooth random field of about unit deviation, the same wherever it is read.

        Args:
            name: Which field; another name is another draw.
            cell_mm: Its grain along (x, y, z).
            box: Where to read it.
        """
        if name not in self._lattices:
            counts = np.ceil((self.upper - self.lower) / cell_mm).astype(int) + 3
            rng = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
            drawn = rng.standard_normal(counts[::-1], dtype=np.float32)
            self._lattices[name] = (
                torch.from_numpy(drawn),
                torch.tensor(cell_mm, dtype=torch.float32),
            )
        values, cells = self._lattices[name]
        for axis, dim, cell, line in zip(
            (2, 1, 0), (0, 1, 2), cells.flip(0), reversed(self.within(box)), strict=True
        ):
            place = (line - float(self.lower[axis])) / cell + 0.5
            first = place.floor().long().clamp(0, values.shape[dim] - 2)
            part = (place - first).clamp(0, 1)
            part = (part * part * (3 - 2 * part)).reshape([-1 if d == dim else 1 for d in range(3)])
            values = torch.lerp(
                values.index_select(dim, first), values.index_select(dim, first + 1), part
            )
        return values.mul_(1.5)


def build(limb: Limb, grid: Grid) -> Float[Tensor, "z y x"]:
    """Hounsfield units of a limb on a grid."""
    placed, nearest = _place_bones(limb, grid)
    hu = _soft_tissue(limb, grid, nearest)
    for bone, box, distance in placed:
        _paint(bone, limb, grid, box, distance, hu)
    return hu


def curve(knots: Knots, at: Tensor) -> Tensor:
    """Values of a piecewise linear curve, flat beyond its ends."""
    result = torch.full_like(at, float(knots[0][1]))
    for (a, low), (b, high) in pairwise(knots):
        result += ((at - a) / (b - a)).clamp_(0, 1).mul_(high - low)
    return result


def _place_bones(
    limb: Limb, grid: Grid
) -> tuple[list[tuple[Bone, Box, Tensor]], Float[Tensor, "z y x"]]:
    """Distance to every bone in a box about it, and to the nearest bone everywhere (at most `_REACH_MM`)."""
    nearest = torch.full(grid.shape, _REACH_MM)
    placed = []
    for bone in limb.bones:
        box = grid.box(*bone.frame.box(bone.shape), _REACH_MM)
        if box is None:
            continue
        local = bone.frame.local(grid.within(box))
        distance = bone.shape.distance(local).add_(bone.shrink_mm)
        wave = grid.noise("surface", (9.0, 9.0, 12.0), box)
        distance.add_(wave, alpha=limb.rough_mm)
        # Beyond a few mm the neighbour says nothing of how deep a point lies in this bone: let its bound fall away.
        taken = bone.gap_mm - nearest[box]
        taken.add_((-taken - 2).div_(4).clamp_(0, 1), alpha=-50.0)
        distance = smooth_max(distance, taken, 1.0)
        nearest[box] = torch.minimum(nearest[box], distance)
        for z, thickness in bone.plates:
            distance = smooth_max(distance, thickness / 2 - (local[2] - z + 0.8 * wave).abs(), 0.8)
        placed.append((bone, box, distance))
    return placed, nearest


def _paint(bone: Bone, limb: Limb, grid: Grid, box: Box, distance: Tensor, hu: Tensor) -> None:
    """Write one bone into the volume: compact shell, sponge, marrow, soft edges."""
    along = bone.frame.local(grid.within(box))[2]
    edge = max(grid.voxel_mm, 0.7)
    patchy = grid.noise("density", (14.0, 14.0, 18.0), box)
    grain = grid.noise("strut", (1.1, 1.1, 3.5), box).add_(
        grid.noise("weave", (2.4, 2.4, 8.0), box), alpha=0.7
    )
    thickness = curve(bone.cortex, along).mul_(1 + 0.12 * patchy)
    inside = (bone.sponge_hu * (1 + 0.12 * patchy + 0.3 * grain)).clamp_(min=20.0)
    depth = -distance
    hollow = curve(bone.marrow, along).mul_(
        ((depth - thickness) / (0.6 + 0.4 * thickness)).clamp_(0, 1)
    )
    inside += (MARROW_HU + 25 * patchy - inside).mul_(hollow)
    shell = ((thickness - depth) / (edge + 0.25 * thickness) + 0.5).clamp_(0, 1)
    inside += (limb.cortex_hu * (1 + 0.04 * patchy) - inside).mul_(shell)
    share = (depth / edge + 0.5).clamp_(0, 1)
    hu[box] += (inside - hu[box]).mul_(share)


def _soft_tissue(limb: Limb, grid: Grid, nearest: Tensor) -> Float[Tensor, "z y x"]:
    """Air, skin, fat under it, muscle with fatty planes, tendons and fat pads."""
    edge = max(grid.voxel_mm, 0.7)
    skin = _skin(limb, grid, nearest)
    fiber = grid.noise("fiber", (13.0, 13.0, 60.0), grid.whole)
    streak = grid.noise("streak", (3.5, 3.5, 18.0), grid.whole)
    fat = (
        grid.noise("fat", (30.0, 30.0, 40.0), grid.whole)
        .mul_(0.3)
        .add_(1)
        .clamp_(0.3, 1.9)
        .mul_(limb.fat_mm)
    )
    under = (skin + fat).add_(_SKIN_MM)  # negative below the fat
    fatness = (under / (2 * edge) + 0.5).clamp_(0, 1)
    fatness = torch.maximum(fatness, (0.75 - (fiber + 0.35 * streak).abs() * 5).clamp_(0, 1))
    _mark(limb.pads, grid, 3.0, fatness, 1.0)
    _mark(limb.cords, grid, edge, fatness, -0.25)
    hu = (MUSCLE_HU + 8 * streak).lerp_(FAT_HU + 10 * fiber, fatness)
    around = ((2.2 - nearest) / 1.5).clamp_(0, 1)
    hu += (CARTILAGE_HU - hu).mul_(around * 0.8)
    hu += (SKIN_HU - hu).mul_(((skin + _SKIN_MM) / edge + 0.5).clamp_(0, 1))
    return hu.sub_(AIR_HU).mul_((0.5 - skin / edge).clamp_(0, 1)).add_(AIR_HU)


def _skin(limb: Limb, grid: Grid, nearest: Tensor) -> Float[Tensor, "z y x"]:
    """Signed distance to the skin's surface in mm, positive in the air, known within about `blend_mm` of the flesh."""
    far = limb.blend_mm + 2
    skin = torch.full(grid.shape, far)
    for shape in limb.flesh:
        box = grid.box(*shape.bounds(), far)
        if box is not None:
            distance = shape.distance(Frame.at().local(grid.within(box))).clamp_(max=far)
            skin[box] = smooth_min(skin[box], distance, limb.blend_mm)
    skin = smooth_min(skin, nearest - limb.cover_mm, min(4.0, limb.blend_mm))
    skin += grid.noise("outline", (16.0, 16.0, 22.0), grid.whole).mul_(0.6)
    for axis, shape in zip(grid.axes[:2], ((1, 1, -1), (1, -1, 1)), strict=True):
        inset = torch.minimum(axis - axis[0], axis[-1] - axis).reshape(shape)
        skin = torch.maximum(skin, 2.5 * grid.voxel_mm - inset)
    return skin


def _mark(
    shapes: Sequence[Shape], grid: Grid, edge_mm: float, target: Tensor, value: float
) -> None:
    """Set a field to a value inside shapes, with soft edges."""
    for shape in shapes:
        box = grid.box(*shape.bounds(), edge_mm)
        if box is not None:
            share = (0.5 - shape.distance(Frame.at().local(grid.within(box))) / edge_mm).clamp_(
                0, 1
            )
            target[box] += (value - target[box]).mul_(share)
