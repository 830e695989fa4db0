"""What patients carry and wear, put into a copy of a CT: wires, plates, rings, watches, casts.

The volume itself changes, so every view shows the same object and the truth takes part in it. Metal is set in world
coordinates (LPS, mm) as solid shapes; a voxel it fills in part takes that part of its CT number, so that the mass of a
wire thinner than a voxel is right. A cast follows the skin of a limb that runs along the volume's z axis.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crossray.errors import InputError
from crossray.volumes.resample import widened
from crossray.volumes.shapes import Ellipsoid, Frame, Placed, Points, Shape, Triple, Union, triple
from crossray.volumes.table import BODY_HU
from crossray.volumes.volume import AIR_HU, Volume

STEEL_HU = 30_710.0
"""The end of the extended CT scale. Steel itself lies above, about 40 000 HU at 60 keV, but 16 bits end at 32 767."""
TITANIUM_HU = 13_800.0
"""So that `attenuation` gives titanium's 0.345 /mm at 60 keV. Source: NIST SRD 126, 0.766 cm^2/g at 4.51 g/cm^3."""
PLASTER_HU, FIBREGLASS_HU = 500.0, -150.0
"""Averages over a cast's layers and the air between them."""

_BONE_HU = 300.0
_SUB_MM = 0.33  # a voxel is sampled this finely; a wire of 1.6 mm is 1 % too heavy then
_BRIDGE_MM = 12.0  # a cast does not follow the skin into gaps narrower than twice this
_SMOOTH_MM = 2.0
_FAR_MM = 50.0


@dataclass(frozen=True)
class Rod:
    """A cylinder with flat ends, between two points."""

    start: Triple
    end: Triple
    radius: float

    def distance(self, points: Points) -> Tensor:
        """Signed distance in mm, negative inside; beyond the rim of an end an estimate that is too short."""
        axis, length = _unit(np.subtract(self.end, self.start))
        middle = np.add(self.start, self.end) / 2
        x, y, z = (p - float(c) for p, c in zip(points, middle, strict=True))
        along = x * axis[0] + y * axis[1] + z * axis[2]
        across = (x * x + y * y + z * z - along * along).clamp(min=0).sqrt()
        return torch.maximum(across - self.radius, along.abs() - length / 2)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners of the box that holds it, in mm."""
        ends = np.array([self.start, self.end], float)
        return ends.min(0) - self.radius, ends.max(0) + self.radius


@dataclass(frozen=True)
class Torus:
    """A ring of round section: `radius` from its centre to the middle of the section, which has the radius `tube`."""

    center: Triple
    axis: Triple
    radius: float
    tube: float

    def distance(self, points: Points) -> Tensor:
        """Signed distance in mm, negative inside."""
        axis, _ = _unit(np.asarray(self.axis, float))
        x, y, z = (p - c for p, c in zip(points, self.center, strict=True))
        along = x * axis[0] + y * axis[1] + z * axis[2]
        across = (x * x + y * y + z * z - along * along).clamp(min=0).sqrt()
        return torch.hypot(across - self.radius, along) - self.tube

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners of the box that holds it, in mm."""
        reach = self.radius + self.tube
        return np.asarray(self.center, float) - reach, np.asarray(self.center, float) + reach


@dataclass(frozen=True)
class Implant:
    """A solid of one material.

    Args:
        shape: Where it is, in world coordinates, mm.
        hu: Its CT number.
    """

    shape: Shape
    hu: float = STEEL_HU

    def __call__(self, volume: Volume) -> Volume:
        """A copy of the volume that holds the implant, as far as it lies within the volume."""
        low, high = self.shape.bounds()
        corners = np.stack(np.meshgrid(*np.stack([low, high]).T, indexing="ij"), -1).reshape(-1, 3)
        affine = volume.voxel_from_world.numpy()
        voxels = corners @ affine[:3, :3].T + affine[:3, 3]
        first = np.maximum(np.floor(voxels.min(0)).astype(int), 0)
        last = np.minimum(np.ceil(voxels.max(0)).astype(int) + 1, volume.values.shape[::-1])
        if (last <= first).any():
            return volume
        x, y, z = (slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
        values = volume.values.clone()
        part = values[z, y, x]
        part += self._coverage(volume, first, last) * (self.hu - part)
        return replace(volume, values=values)

    def _coverage(
        self, volume: Volume, first: np.ndarray, last: np.ndarray
    ) -> Float[Tensor, "z y x"]:
        """Share of each voxel of a box that the shape fills."""
        counts = np.maximum(1, np.ceil(np.array(volume.spacing) / _SUB_MM)).astype(int)
        fine = float((np.array(volume.spacing) / counts).mean())
        affine = volume.world_from_voxel
        axes = [torch.arange(a, b, dtype=torch.float64) for a, b in zip(first, last, strict=True)]
        grid = torch.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
        voxels = torch.stack(grid[::-1]).flatten(1)
        centers = (affine[:3, :3] @ voxels + affine[:3, 3:]).float()
        distance = self.shape.distance((centers[0], centers[1], centers[2]))
        share = (distance < 0).float()
        crossed = distance.abs() < float(np.linalg.norm(volume.spacing))
        edge = centers[:, crossed]
        total = torch.zeros(edge.shape[1])
        for offset in np.ndindex(*counts):
            within = torch.from_numpy((np.array(offset) + 0.5) / counts - 0.5)
            x, y, z = edge + (affine[:3, :3] @ within).float()[:, None]
            total += (0.5 - self.shape.distance((x, y, z)) / fine).clamp(0, 1)
        share[crossed] = total / int(counts.prod())
        return share.view(grid[0].shape)


@dataclass(frozen=True)
class Cast:
    """A shell around a limb: a cast, or with metal and a short reach a bracelet.

    Args:
        reach: From where to where it goes, as shares of the volume's z axis.
        gap_mm: Padding between skin and shell.
        thickness_mm: Of the shell, within a slice.
        hu: Its mean CT number.
        variation: Standard deviation of its density from place to place, as a share of the density.
        seed: Of those variations.
    """

    reach: tuple[float, float] = (0.0, 1.0)
    gap_mm: float = 4.0
    thickness_mm: float = 5.0
    hu: float = PLASTER_HU
    variation: float = 0.25
    seed: int = 0

    def __call__(self, volume: Volume) -> Volume:
        """A copy of the volume, widened in x and y to hold the shell around everything above -300 HU.

        Raises:
            InputError: Nothing above -300 HU within reach.
        """
        outer = self.gap_mm + self.thickness_mm
        volume = widened(volume, max(outer, _BRIDGE_MM) + 2 * _SMOOTH_MM)
        slices = volume.values.shape[0]
        z = slice(round(self.reach[0] * slices), max(1, round(self.reach[1] * slices)))
        part = volume.values[z]
        body = part > BODY_HU
        if not body.any():
            raise InputError(f"{volume.name} holds no limb above {BODY_HU:g} HU to put a cast on.")
        fine = (volume.spacing[0] + volume.spacing[1]) / 2
        # In place, and the volume is a copy already.
        change = _mottling(self.seed, part.shape, volume.spacing).mul_(self.variation).add_(1)
        change.clamp_(min=0).mul_(self.hu - AIR_HU).add_(AIR_HU).sub_(part)
        skin = _skin_distance(body, volume.spacing)
        off_middle = skin.sub_(self.gap_mm).sub_(self.thickness_mm / 2).abs_()
        off_middle.sub_(self.thickness_mm / 2)
        part += change.mul_(off_middle.div_(fine).neg_().add_(0.5).clamp_(0, 1))  # its coverage
        return volume


Hardware = Implant | Cast


def wire(start: Triple, end: Triple, diameter_mm: float = 1.6) -> Implant:
    """A Kirschner wire between two world points in mm."""
    return Implant(Rod(start, end, diameter_mm / 2))


def ring(
    center: Triple, axis: Triple, inner_mm: float = 18.0, thickness_mm: float = 2.0
) -> Implant:
    """A finger ring: its middle (world, mm), the finger's direction, its inner diameter and its thickness."""
    return Implant(Torus(center, axis, (inner_mm + thickness_mm) / 2, thickness_mm / 2))


def watch(center: Triple, outward: Triple, diameter_mm: float = 36.0) -> Implant:
    """The case of a wristwatch 9 mm thick, its back's middle at `center` (world, mm)."""
    axis, _ = _unit(np.asarray(outward, float))
    return Implant(
        Rod(center, triple(np.asarray(center) + 9.0 * axis), diameter_mm / 2), TITANIUM_HU
    )


@dataclass(frozen=True)
class Plate:
    """A bone plate with its row of screws, to be made an implant by `implant`.

    Args:
        middle: Where the middle of its underside touches the bone, world mm.
        along: Direction of the shaft.
        outward: Direction away from the bone; the part across the shaft counts.
        length_mm: Along the shaft.
        width_mm: Across it.
        thickness_mm: Away from the bone.
        screws: How many.
        screw_mm: Length of the screws' shafts into the bone.
        hu: CT number of plate and screws.
    """

    middle: Triple
    along: Triple
    outward: Triple
    length_mm: float = 70.0
    width_mm: float = 10.0
    thickness_mm: float = 2.5
    screws: int = 6
    screw_mm: float = 18.0
    hu: float = TITANIUM_HU

    def implant(self) -> Implant:
        """The plate, its screws' shafts of 3.5 mm and heads of 7 mm diameter, in one piece."""
        along, _ = _unit(np.asarray(self.along, float))
        out, _ = _unit(np.asarray(self.outward, float) - along * (along @ np.asarray(self.outward)))
        axes = np.stack([np.cross(out, along), out, along], 1)
        body = Ellipsoid(
            (0.0, self.thickness_mm / 2, 0.0),
            (self.width_mm / 2, self.thickness_mm / 2, self.length_mm / 2),
            8,
        )
        spread = (np.arange(self.screws) + 0.5) / self.screws - 0.5
        parts: list[Shape] = [body]
        for z in (spread * (self.length_mm - 4)).tolist():
            parts.append(Rod((0.0, -self.screw_mm, z), (0.0, self.thickness_mm, z), 1.75))
            parts.append(Rod((0.0, 0.0, z), (0.0, self.thickness_mm + 1.0, z), 3.5))
        frame = Frame.at(self.middle, axes)
        return Implant(Placed(Union(tuple(parts), 0.0), frame), self.hu)


def sample_hardware(rng: np.random.Generator, volume: Volume) -> tuple[Hardware, ...]:
    """Draw what a patient carries: one to three wires, a plate, a cast, or wires in a cast; apply them in their order.

    Args:
        rng: Source of randomness.
        volume: CT of a limb in HU along its z axis.

    Raises:
        InputError: No bone above 300 HU.
    """
    bone = (volume.values > _BONE_HU).nonzero().flip(1).double()
    if not len(bone):
        raise InputError(f"{volume.name} holds no bone above {_BONE_HU:g} HU for wires and plates.")
    affine = volume.world_from_voxel
    points = (bone @ affine[:3, :3].T + affine[:3, 3]).numpy()
    kind = rng.choice(4, p=(0.3, 0.2, 0.3, 0.2))
    pieces: list[Hardware] = []
    if kind in (0, 3):
        pieces += [_sample_wire(rng, points) for _ in range(rng.integers(1, 4))]
    if kind == 1:
        pieces.append(_sample_plate(rng, points))
    if kind in (2, 3):
        low, high = rng.uniform(-0.3, 0.3), rng.uniform(0.6, 1.3)
        pieces.append(
            Cast(
                reach=(max(0.0, low), min(1.0, high)),
                gap_mm=float(rng.uniform(2, 7)),
                thickness_mm=float(rng.uniform(3, 7)),
                hu=float(rng.choice((PLASTER_HU, FIBREGLASS_HU)) + rng.normal(0, 100)),
                variation=float(rng.uniform(0.1, 0.4)),
                seed=int(rng.integers(2**31)),
            )
        )
    return tuple(pieces)


def _sample_wire(rng: np.random.Generator, bone: Float[np.ndarray, "point 3"]) -> Implant:
    """A wire through a point of bone, 15 to 60 degrees off the limb's axis."""
    middle, length = bone[rng.integers(len(bone))], rng.uniform(30, 80)
    tilt, turn = np.radians(rng.uniform(15, 60)), rng.uniform(0, 2 * np.pi)
    direction = np.array([np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn), np.cos(tilt)])
    start = middle - rng.uniform(0.3, 0.7) * length * direction
    return wire(triple(start), triple(start + length * direction), float(rng.uniform(1.0, 2.4)))


def _sample_plate(rng: np.random.Generator, bone: Float[np.ndarray, "point 3"]) -> Implant:
    """A plate on the bone around a point of it, along the direction in which that bone extends most."""
    length = rng.uniform(40, 90)
    near = bone[np.linalg.norm(bone - bone[rng.integers(len(bone))], axis=1) < 0.3 * length]
    center = near.mean(0)
    along = np.linalg.svd(near - center, full_matrices=False)[2][0]
    out = np.cross(along, rng.normal(size=3))
    out /= np.linalg.norm(out)
    beside = near - center - np.outer((near - center) @ along, along)
    ahead = np.linalg.norm(beside - np.outer(beside @ out, out), axis=1) < 4
    depth = float((beside[ahead] @ out).max()) if ahead.any() else 0.0
    return Plate(
        middle=triple(center + depth * out),
        along=triple(along),
        outward=triple(out),
        length_mm=float(length),
        width_mm=float(rng.uniform(7, 14)),
        thickness_mm=float(rng.uniform(1.5, 4)),
        screws=int(rng.integers(4, 9)),
        screw_mm=float(np.clip(2 * depth, 8, 40)),
        hu=float(rng.choice((STEEL_HU, TITANIUM_HU))),
    ).implant()


def _unit(vector: np.ndarray) -> tuple[np.ndarray, float]:
    """A vector's direction and length."""
    length = float(np.linalg.norm(vector))
    if length == 0:
        raise InputError("A direction of length 0 points nowhere; give two different points.")
    return vector / length, length


def _skin_distance(body: Tensor, spacing: tuple[float, float, float]) -> Float[Tensor, "z y x"]:
    """Distance in mm within each slice to the skin, gaps between fingers bridged."""
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    sampling = spacing[1::-1]
    half = sum(sampling) / 4  # from a voxel's centre to its edge

    def outside(mask: np.ndarray) -> np.ndarray:
        if not mask.any():
            return np.full(mask.shape, _FAR_MM)
        return np.asarray(distance_transform_edt(~mask, sampling)).clip(max=_FAR_MM)

    distance = np.empty(body.shape, np.float32)
    for index, tissue in enumerate(body.numpy()):
        closed = outside(outside(tissue) > _BRIDGE_MM) > _BRIDGE_MM
        closed |= tissue
        distance[index] = np.where(closed, half - outside(~closed), outside(closed) - half)
    widths = [_SMOOTH_MM / step for step in spacing[::-1]]
    gaussian_filter(distance, widths, output=distance, mode="nearest")
    return torch.from_numpy(distance)


def _mottling(
    seed: int, shape: torch.Size, spacing: tuple[float, float, float]
) -> Float[Tensor, "z y x"]:
    """A field of unit variance: lumps of a few mm, and layers wound around the limb."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    total = np.zeros(shape, np.float32)
    for along, across in ((1.5, 1.5), (1.0, 8.0)):
        widths = (along / spacing[2], across / spacing[1], across / spacing[0])
        noise = rng.standard_normal(shape, np.float32)
        gaussian_filter(noise, widths, output=noise, mode="nearest")
        noise /= max(float(noise.std()), 1e-6)
        total += noise
    total /= np.sqrt(2, dtype=np.float32)
    return torch.from_numpy(total)
