"""What a CT shows, measured: size, body, couch, metal, limbs and their likely anatomy."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from crossray.volumes.anatomy import likely_anatomy
from crossray.volumes.limbs import split_limbs
from crossray.volumes.resample import along_patient
from crossray.volumes.table import BODY_HU, body_box, cut_faces, label, remove_table
from crossray.volumes.volume import Volume

METAL_HU = 2500.0
"""Denser than any bone but the teeth; scanners often store at most 3071."""
_METAL_CM3 = 0.02
_COUCH_CM3 = 10.0
_CUT = 0.05  # share of a face of the volume from which the body counts as cut by it

_FACES = {
    "x_low": "right",
    "x_high": "left",
    "y_low": "front",
    "y_high": "back",
    "z_low": "feet",
    "z_high": "head",
}
Range = tuple[int, int]
Box = tuple[Range, Range, Range]
"""First voxel and one past the last along z, y and x."""


@dataclass(frozen=True)
class Metal:
    """A connected piece of metal.

    Args:
        volume_cm3: How large it is.
        position_mm: Its centre, LPS.
    """

    volume_cm3: float
    position_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Limb:
    """One limb of a scan.

    Args:
        side: "right" or "left" of the other limb by the file's orientation, which proves nothing; "unknown" for one
            limb alone.
        box: Where it lies in the volume that was inspected.
        size_mm: Its extent along x, y and z.
        volume_cm3: Of its tissue.
        likely: Its anatomy, or "unknown".
        evidence: What that was told by.
    """

    side: str
    box: Box
    size_mm: tuple[float, float, float]
    volume_cm3: float
    likely: str
    evidence: str


@dataclass(frozen=True)
class Inspection:
    """What a CT shows.

    Args:
        name: Of the volume.
        shape: Voxels along x, y and z.
        spacing_mm: Distance of voxel centres along x, y and z.
        field_mm: Extent of the scan along x, y and z.
        axes: Where the axes of the file point, such as "LPS", and by how many degrees at most they miss it.
        hu: Values that 0.1 % and 99.9 % of the voxels lie below.
        body: Box of the body in the volume that was inspected.
        body_mm: Extent of the body along x, y and z.
        couch_cm3: Tissue-like matter that does not belong to the body: couch, cushions, cables.
        metal: Pieces of metal in the body, the largest first.
        limbs: From the patient's right to the left.
        cut: Sides on which the scan or a crop cuts through the body, with the share of that face.
        notes: What was repaired when the file was read, and what was left out.
    """

    name: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    field_mm: tuple[float, float, float]
    axes: tuple[str, float]
    hu: tuple[float, float]
    body: Box
    body_mm: tuple[float, float, float]
    couch_cm3: float
    metal: tuple[Metal, ...]
    limbs: tuple[Limb, ...]
    cut: dict[str, float]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Inspected:
    """A CT turned to the patient's axes, and what of it is what.

    Args:
        volume: As it was read.
        clean: Without couch.
        facts: What it shows.
    """

    volume: Volume
    clean: Volume
    facts: Inspection

    @property
    def metal(self) -> Bool[Tensor, "z y x"]:
        """Where the body holds metal."""
        return self.clean.values > METAL_HU


def inspect_ct(volume: Volume) -> Inspected:
    """Measure what a CT shows.

    Args:
        volume: HU as `read_ct` gives them; any spacing and orientation.

    Raises:
        InputError: It holds no body.
    """
    turned = along_patient(volume)
    clean = remove_table(turned)
    limbs = split_limbs(clean)
    box = body_box(clean)
    voxel_cm3 = _voxel_cm3(turned)
    couch_cm3 = float(((turned.values > BODY_HU) & (clean.values <= BODY_HU)).sum()) * voxel_cm3
    z, y, x = turned.values.shape
    facts = Inspection(
        name=volume.name,
        shape=(x, y, z),
        spacing_mm=turned.spacing,
        field_mm=_extent(turned, ((0, z), (0, y), (0, x))),
        axes=_axes(volume),
        hu=_range_hu(volume.values),
        body=_ranges(box),
        body_mm=_extent(turned, _ranges(box)),
        couch_cm3=couch_cm3 if couch_cm3 >= _COUCH_CM3 else 0.0,
        metal=_metal(clean),
        limbs=tuple(
            _limb(limb, side, turned) for limb, side in zip(limbs, _sides(limbs), strict=True)
        ),
        cut={_FACES[face]: share for face, share in cut_faces(clean).items() if share >= _CUT},
        notes=limbs[0].notes,
    )
    return Inspected(turned, clean, facts)


def _limb(limb: Volume, side: str, turned: Volume) -> Limb:
    first = (turned.voxel_from_world @ limb.world_from_voxel)[:3, 3].round().int().tolist()
    z, y, x = ((low, low + size) for low, size in zip(first[::-1], limb.values.shape, strict=True))
    likely, evidence = likely_anatomy(limb)
    volume_cm3 = float((limb.values > BODY_HU).sum()) * _voxel_cm3(limb)
    return Limb(side, (z, y, x), _extent(limb, (z, y, x)), volume_cm3, likely, evidence)


def _sides(limbs: list[Volume]) -> list[str]:
    """Sides of two limbs that lie beside each other more than above or before each other."""
    if len(limbs) == 2:
        x, y, z = (limbs[1].center - limbs[0].center).tolist()
        if x > max(abs(y), abs(z)):
            return ["right", "left"]
    return ["unknown"] * len(limbs)


def _metal(clean: Volume) -> tuple[Metal, ...]:
    mask = (clean.values > METAL_HU).numpy()
    if not mask.any():
        return ()
    labels = label(mask, reach=3)
    where = np.argwhere(mask)
    owner = labels[mask]
    pieces = []
    for number in range(1, int(owner.max()) + 1):
        own = where[owner == number]
        middle = torch.tensor([*own.mean(axis=0)[::-1], 1.0], dtype=torch.float64)
        x, y, z = (clean.world_from_voxel @ middle)[:3].tolist()
        pieces.append(Metal(len(own) * _voxel_cm3(clean), (x, y, z)))
    large = [piece for piece in pieces if piece.volume_cm3 >= _METAL_CM3]
    return tuple(sorted(large, key=lambda piece: -piece.volume_cm3))


def _axes(volume: Volume) -> tuple[str, float]:
    """The patient's directions nearest to the axes, and the largest angle between the two in degrees."""
    steps = volume.world_from_voxel[:3, :3]
    directions = steps / torch.linalg.norm(steps, dim=0)
    share, world = directions.abs().max(dim=0)
    letters = ("RL", "AP", "IS")
    signs = [int(directions[w, axis] > 0) for axis, w in enumerate(world.tolist())]
    code = "".join(letters[w][sign] for w, sign in zip(world.tolist(), signs, strict=True))
    return code, float(share.min().clamp(max=1).arccos().rad2deg())


def _range_hu(values: Tensor) -> tuple[float, float]:
    some = values.flatten()[:: max(1, values.numel() // 1_000_000)]
    low, high = np.quantile(some.numpy(), (0.001, 0.999))
    return float(low), float(high)


def _ranges(box: tuple[slice, slice, slice]) -> Box:
    z, y, x = ((cut.start, cut.stop) for cut in box)
    return z, y, x


def _extent(volume: Volume, box: Box) -> tuple[float, float, float]:
    x, y, z = (
        (stop - start) * step for (start, stop), step in zip(box[::-1], volume.spacing, strict=True)
    )
    return x, y, z


def _voxel_cm3(volume: Volume) -> float:
    return abs(float(torch.linalg.det(volume.world_from_voxel[:3, :3]))) / 1000
