"""A fracture applied to a volume.

Bone is what exceeds 60 HU within a bone's mask, and lies over soft tissue of at most 60 HU. A break parts that excess
into pieces and moves each of them: none is lost, what overlaps adds up to a dense line, and what gapes shows blood
and muscle. Every voxel that moved is taken from the measured slices once, as those of the intact twin are, so that the
twins are equally sharp.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int16
from torch import Tensor
from torch.nn.functional import max_pool3d

from crossray.errors import InputError
from crossray.volumes.fracture.bones import Bones, find_bones
from crossray.volumes.fracture.drawing import Fracture, FractureConfig, draw_fracture
from crossray.volumes.fracture.pieces import Motion, Piece, local_frame, pieces_of, reach_mm
from crossray.volumes.resample import crop
from crossray.volumes.table import Box, label
from crossray.volumes.volume import Volume

BLOOD_HU = 60.0
"""Of soft tissue and of the blood in a gap: what bone is counted from."""

_RIM_MM = 1.6  # partly filled voxels about a bone belong to it
_YIELD_MM = 25.0  # half the length over which soft tissue yields to a limb that moves
_MARGIN_MM = 3.0
_OTHER = -1  # no bone of `Bones.labels` has this number


@dataclass(frozen=True, eq=False)
class Broken:
    """A volume before and after a break.

    Args:
        intact: HU before it.
        volume: HU after it, on the same grid.
        lesion: Share of each voxel that belongs to the break, 0 to 1, on the voxels of `box`.
        box: All voxels that changed lie in it.
        fracture: What was done.
    """

    intact: Volume
    volume: Volume
    lesion: Volume
    box: Box
    fracture: Fracture


def break_bone(
    volume: Volume | Bones, seed: int, config: FractureConfig = FractureConfig()
) -> Broken:
    """Break one bone of a CT or a phantom, as the seed draws it.

    Args:
        volume: HU after `remove_table`, or the same made ready by `find_bones` to save its time.
        seed: The same seed, volume and configuration give the same fracture, bit for bit.
        config: Which fractures.

    Raises:
        InputError: A negative seed, or a volume without a long bone.
    """
    if seed < 0:
        raise InputError(f"seed={seed} is negative; give a whole number from 0 up.")
    bones = volume if isinstance(volume, Bones) else find_bones(volume, config.spacing_mm)
    return apply_fracture(bones, draw_fracture(np.random.default_rng(seed), bones, config))


def apply_fracture(bones: Bones, fracture: Fracture) -> Broken:
    """Break a bone as the numbers say; a fracture that moves nothing changes nothing.

    Raises:
        InputError: No bone lies at the fracture's centre.
    """
    pieces = pieces_of(fracture)
    scene = _Scene.of(bones, fracture, pieces)
    change, lesion = torch.zeros_like(scene.bone), torch.zeros_like(scene.bone)
    for piece in pieces:
        scene.move(piece, change, lesion)
    values, box = bones.volume.values.clone(), scene.box
    values[box] += change
    limb = pieces[-1].motion
    if not fracture.fade_mm and limb is not None and not limb.still:
        box = scene.carry_limb(limb, values)
    marked = replace(crop(bones.volume, scene.box), values=lesion, name="lesion")
    return Broken(bones.volume, replace(bones.volume, values=values), marked, box, fracture)


@dataclass(frozen=True, eq=False)
class _Scene:
    """The part of a bone that a fracture moves, in a box of the grid.

    Args:
        bones: The volume.
        box: Nothing of the bone moves out of it.
        mask: How much of a voxel belongs to the bone, partly filled ones included.
        bone: Its excess over soft tissue, HU.
        world_from_local: Affine of the coordinates that pieces are told in.
        margin_mm: How far bone may reach beyond where its motion takes it.
    """

    bones: Bones
    box: Box
    mask: Float[Tensor, "z y x"]
    bone: Float[Tensor, "z y x"]
    world_from_local: Float[np.ndarray, "4 4"]
    margin_mm: float

    @classmethod
    def of(cls, bones: Bones, fracture: Fracture, pieces: list[Piece]) -> "_Scene":
        """The scene of a fracture."""
        world_from_local = np.eye(4)
        world_from_local[:3, :3] = local_frame(fracture).T
        world_from_local[:3, 3] = fracture.center
        fine, number = bones.volume, _bone_at(bones, fracture)
        voxels = torch.nonzero(bones.labels == number).flip(1).float()
        affine = np.linalg.inv(world_from_local) @ fine.world_from_voxel.numpy()
        points = _mapped(affine, voxels)
        zone = reach_mm(fracture)
        near = points[:, 2] > -zone
        if fracture.fade_mm:
            near &= points[:, 2] < fracture.fade_mm + zone
        voxels, points = voxels[near].int(), points[near]
        own = _joined(voxels, points, zone)
        others, points = voxels[~own], points[own]
        motions = [piece.motion for piece in pieces if piece.motion]
        reached = torch.cat([points, *(motion.moved(points) for motion in motions)])
        margin = _MARGIN_MM + fracture.bulge_mm
        box = _box_about(
            _mapped(np.linalg.inv(affine), reached), margin / fine.spacing[0], _whole(fine)
        )
        labels = bones.labels.clone()
        labels[tuple(others.flip(1).T)] = _OTHER
        mask = _grown(labels[box], number, round(_RIM_MM / fine.spacing[0]))
        bone = mask * (fine.values[box] - BLOOD_HU).clamp(min=0)
        return cls(bones, box, mask, bone, world_from_local, margin)

    def move(
        self, piece: Piece, change: Float[Tensor, "z y x"], lesion: Float[Tensor, "z y x"]
    ) -> None:
        """Take a piece from where it was and put it where it goes, and mark the break."""
        spacing, (held, points) = self.bones.volume.spacing[0], self._held
        some = tuple(held.T)
        share, marks = piece.cut(points, spacing)
        if piece.motion is None or piece.motion.still:
            _mark(lesion, held, marks * self.mask[some])
            return
        change[some] -= share * self.bone[some]
        own = points[share > 0]
        if not len(own):
            return
        reached = _mapped(self._voxel_from_local, torch.cat([own, piece.motion.moved(own)]))
        inner = _box_about(reached, self.margin_mm / spacing, self.box)
        came, mask, hu = (torch.from_numpy(found) for found in self._gathered(piece.motion, inner))
        target = torch.nonzero(mask)
        some = tuple(target.T)
        came, mask, excess = came[some], mask[some], (hu[some] - BLOOD_HU).clamp(min=0)
        target += torch.tensor([a.start - b.start for a, b in zip(inner, self.box, strict=True)])
        share, marks = piece.cut(came, spacing)
        change[tuple(target.T)] += share * mask * excess
        _mark(lesion, target, marks * mask)

    def _gathered(self, motion: Motion, box: Box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        from crossray.volumes.fracture._cpu import gather_kernel

        corners = np.array([part.start for part in box] + [part.stop for part in box])
        return gather_kernel(
            corners, self._affines(motion), motion.form, self.mask.numpy(), self._first.numpy(),
            self.bones.native.values.numpy(),
        )  # fmt: skip

    def carry_limb(self, motion: Motion, values: Float[Tensor, "z y x"]) -> Box:
        """Let all else beyond the break follow its distal side; the box of all that changed."""
        from crossray.volumes.fracture._cpu import carry_kernel

        found = carry_kernel(
            values.numpy(), self.bones.volume.values.numpy(), self.bone.numpy(), self.mask.numpy(),
            self._first.numpy(), self.bones.native.values.numpy(), self._affines(motion),
            replace(motion, bend_mm=_YIELD_MM, bulge=0.0).form, np.float32(BLOOD_HU),
        )  # fmt: skip
        moved = np.flatnonzero(found[:, 1] >= 0)
        if not len(moved):
            return self.box
        lows = (moved[0], found[moved, 0].min(), found[moved, 2].min())
        highs = (moved[-1], found[moved, 1].max(), found[moved, 3].max())
        z, y, x = (
            slice(min(part.start, int(low)), max(part.stop, int(high) + 1))
            for part, low, high in zip(self.box, lows, highs, strict=True)
        )
        return z, y, x

    def _affines(self, motion: Motion) -> Float[np.ndarray, "4 3 4"]:
        """What the kernels map by, in their order."""
        native, own = self.bones.native, self._voxel_from_local
        measured = native.voxel_from_world.numpy() @ self.world_from_local
        affines = [np.linalg.inv(own), motion.back, measured, own]
        return np.stack(affines)[:, :3].astype(np.float32)

    @cached_property
    def _held(self) -> tuple[Int[Tensor, "voxel 3"], Float[Tensor, "voxel 3"]]:
        """The bone's voxels (z, y, x) in the box, and their local coordinates."""
        held = torch.nonzero(self.mask)
        return held, _mapped(
            np.linalg.inv(self._voxel_from_local), (held.flip(1) + self._first).float()
        )

    @property
    def _voxel_from_local(self) -> Float[np.ndarray, "4 4"]:
        return self.bones.volume.voxel_from_world.numpy() @ self.world_from_local

    @property
    def _first(self) -> Int[Tensor, " 3"]:
        """The box's first voxel (x, y, z)."""
        return torch.tensor([part.start for part in reversed(self.box)])


def _bone_at(bones: Bones, fracture: Fracture) -> int:
    """The bone most of whose voxels lie about a fracture's centre."""
    center = torch.tensor([fracture.center])
    place = _mapped(bones.volume.voxel_from_world.numpy(), center)
    box = _box_about(
        place, max(2.0, fracture.radius_mm / bones.volume.spacing[0]), _whole(bones.volume)
    )
    counts = bones.labels[box].flatten().long().bincount(minlength=2)
    if not counts[1:].any():
        raise InputError(
            f"{bones.volume.name} has no bone at {fracture.center} mm; choose a centre from the sites of find_bones."
        )
    return int(counts[1:].argmax()) + 1


def _joined(
    voxels: Int[Tensor, "voxel 3"], points: Float[Tensor, "voxel 3"], zone: float
) -> Bool[Tensor, " voxel"]:
    """Which of a bone's voxels belong to the part that breaks, as bones that touch bear one number.

    At the height of the break parts stand apart; beyond it a voxel belongs to the part it is nearest to through bone.
    """
    from scipy import ndimage

    places = tuple((voxels - voxels.amin(0)).flip(1).T.numpy())
    bone = np.zeros([place.max() + 1 for place in places], bool)
    bone[places] = points[:, 2].abs() < zone
    parts = label(bone, reach=3)
    if parts.max() == 1:
        return torch.ones(len(voxels), dtype=torch.bool)
    bone[places] = True
    broken = parts[tuple(place[int(points.norm(dim=1).argmin())] for place in places)]
    seeds = np.where(parts > 0, np.where(parts == broken, 1, 2), np.where(bone, 0, -1))
    found = ndimage.watershed_ift(np.where(bone, np.uint8(0), np.uint8(255)), seeds)
    return torch.from_numpy(found[places] == 1)


def _grown(labels: Int16[Tensor, "z y x"], number: int, rim: int) -> Float[Tensor, "z y x"]:
    """A bone with the partly filled voxels about it, other bones left out."""
    own = (labels == number).float()
    grown = own[None]
    for axis in range(3):
        reach = [rim if axis == other else 0 for other in range(3)]
        grown = max_pool3d(grown, [2 * n + 1 for n in reach], 1, reach)
    return grown[0] * ((labels == number) | (labels == 0))


def _mark(
    lesion: Float[Tensor, "z y x"], voxels: Int[Tensor, "voxel 3"], marks: Float[Tensor, " voxel"]
) -> None:
    where = tuple(voxels.T)
    lesion[where] = torch.maximum(lesion[where], marks)


def _mapped(
    affine: Float[np.ndarray, "4 4"], points: Float[Tensor, "point 3"]
) -> Float[Tensor, "point 3"]:
    matrix = torch.from_numpy(affine).float()
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def _whole(volume: Volume) -> Box:
    z, y, x = (slice(0, side) for side in volume.values.shape)
    return z, y, x


def _box_about(voxels: Float[Tensor, "voxel 3"], margin: float, whole: Box) -> Box:
    """The box about some places (x, y, z), with a margin in voxels, within another."""
    low, high = voxels.amin(0) - margin, voxels.amax(0) + margin
    z, y, x = (
        slice(max(part.start, int(first)), max(part.start + 1, min(part.stop, int(last) + 2)))
        for first, last, part in zip(
            low.flip(0).tolist(), high.flip(0).tolist(), whole, strict=True
        )
    )
    return z, y, x
