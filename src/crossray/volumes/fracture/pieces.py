"""The pieces a fracture makes of a bone, and how each of them moves.

Points are (point, 3): mm along `across`, at right angles to both, and along the axis, from the fracture's centre.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crossray.volumes.fracture.drawing import Fracture
from crossray.volumes.shapes import turn

Points = Float[Tensor, "point 3"]
Values = Float[Tensor, " point"]

EDGE_MM = 2.0
"""The lesion reaches so far from the break into the bone."""

_BUCKLE_MM = 3.0  # half width of a buckle along the bone
_BEND_MM = 4.0  # half the length over which a buckled bone bends
_HINGE = 0.8  # in radii from the axis; the far side opens
_TEETH_MM, _WAVES = (3.0, 12.0), 5  # wavelengths of the teeth, and how many
_TABLE, _TABLE_MM = 320, 0.25


@dataclass(frozen=True, eq=False)
class Motion:
    """A turn about a pivot, then a shift; where asked, fading along the bone, and nothing before its start.

    Args:
        turn: Rotation of column vectors.
        pivot: It turns about, mm.
        shift: Then moved by, mm.
        fade_mm: Length along the axis over which the motion fades; 0 for none.
        bend_mm: Half the length over which it sets in; 0 for everywhere.
        bulge: Share by which the bone widens about the break, towards `across`.
    """

    turn: Float[Tensor, "3 3"]
    pivot: Float[Tensor, " 3"]
    shift: Float[Tensor, " 3"]
    fade_mm: float = 0.0
    bend_mm: float = 0.0
    bulge: float = 0.0

    @property
    def still(self) -> bool:
        """It moves nothing."""
        identity = torch.equal(self.turn, torch.eye(3))
        return identity and not self.shift.any() and not self.bulge

    @property
    def back(self) -> Float[np.ndarray, "4 4"]:
        """Affine that undoes the turn and the shift."""
        affine = np.eye(4)
        affine[:3, :3] = self.turn.T
        affine[:3, 3] = self.pivot - self.turn.T @ (self.pivot + self.shift)
        return affine

    @property
    def form(self) -> Float[np.ndarray, "4"]:
        """How it fades, bends and bulges, as the kernels take it."""
        return np.array([self.fade_mm, self.bend_mm, self.bulge, _BUCKLE_MM], np.float32)

    def moved(self, points: Points) -> Points:
        """Where points go, without fading."""
        return (points - self.pivot) @ self.turn.T + self.pivot + self.shift


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of the bone.

    Args:
        depth: How far points lie inside it from the break, mm; negative outside.
        motion: How it moves; None where it stays.
        marked: Positive where it belongs to the lesion; None is `EDGE_MM` from the break.
    """

    depth: Callable[[Points], Values]
    motion: Motion | None
    marked: Callable[[Points], Values] | None = None

    def cut(self, points: Points, spacing: float) -> tuple[Values, Values]:
        """How much of the bone at some points belongs to the piece, and how much of it to the lesion."""
        depth = self.depth(points)
        marked = EDGE_MM - depth if self.marked is None else self.marked(points)
        return (depth / spacing + 0.5).clamp(0, 1), ((depth > -0.5) & (marked > 0)).float()


def pieces_of(fracture: Fracture) -> list[Piece]:
    """The pieces of a fracture; their shares of every point add up to 1, but for a buckle's, which is one."""
    rng = np.random.default_rng(fracture.seed)
    distal = _distal_motion(fracture)
    if fracture.kind == "buckle":
        return [Piece(lambda p: torch.full_like(p[:, 0], torch.inf), distal, _buckled)]
    height = _height(fracture, rng)
    across, reach = 1 / math.sqrt(1 + _steepness(fracture) ** 2), reach_mm(fracture)

    @lru_cache(maxsize=1)  # asked several times of the same points, one piece after the other
    def above(p: Points) -> Values:
        depth, near = torch.full_like(p[:, 0], torch.inf), p[:, 2] < reach
        some = p[near]
        depth[near] = (some[:, 2] - height(some)) * across
        return depth

    if not fracture.wedge_mm:
        return [Piece(lambda p: -above(p), None), Piece(above, distal)]
    return _comminuted(fracture, rng, above, distal)


def reach_mm(fracture: Fracture) -> float:
    """The break lies within this height to either side of its centre."""
    rise = math.tan(math.radians(fracture.slope_deg)) + 1
    return rise * 2 * fracture.radius_mm + abs(fracture.pitch_mm) + 1.5 * fracture.wedge_mm


def _comminuted(
    fracture: Fracture, rng: np.random.Generator, above: Callable[[Points], Values], distal: Motion
) -> list[Piece]:
    """Two ends, and between them loose pieces of a wedge."""
    low, high = rng.uniform(0.3, 1.0, 2) * fracture.wedge_mm
    cut, upper = np.radians(rng.uniform(-35, 35)), rng.uniform(-0.3, 0.3) * fracture.wedge_mm

    def over(p: Points) -> Values:
        return above(p) + low * _lobe(p).sqrt()

    def under(p: Points) -> Values:
        return high * _lobe(p).sqrt() - above(p)

    def side(p: Points) -> Values:
        return p[:, 1] * math.cos(cut) - p[:, 0] * math.sin(cut)

    def within(*depths: Callable[[Points], Values]) -> Callable[[Points], Values]:
        return lambda p: torch.stack([depth(p) for depth in depths]).amin(0)

    parts = [(over, under, side), (over, under, lambda p: -side(p))]
    if rng.random() < 0.5:
        first = parts.pop(0)
        parts += [(*first, lambda p: above(p) - upper), (*first, lambda p: upper - above(p))]
    loose = []
    for index, depths in enumerate(parts):
        depth, aside = within(*depths), (1.0, -1.0)[index % 2]
        loose.append(Piece(depth, _loose_motion(fracture, rng, aside, 0.25 * (high - low)), depth))
    return [Piece(lambda p: -over(p), None), *loose, Piece(lambda p: -under(p), distal)]


def _loose_motion(
    fracture: Fracture, rng: np.random.Generator, aside: float, along: float
) -> Motion:
    """A loose piece on one side or the other drifts outwards and turns about its middle."""
    free = 0.3 + 0.7 * fracture.severity
    x, y, z = free * rng.uniform(-15, 15, 3)
    pivot = [0.7 * fracture.radius_mm, 0.4 * aside * fracture.radius_mm, along]
    shift = [rng.uniform(0.5, 3.5), aside * rng.uniform(0, 2), rng.uniform(-1, 2)]
    rotation = turn("x", x) @ turn("y", y) @ turn("z", z)
    return Motion(_tensor(rotation), _tensor(pivot), free * _tensor(shift))


def _distal_motion(fracture: Fracture) -> Motion:
    """How the distal side moves: it opens away from `across`, hinged on the other side."""
    rotation = turn("y", -fracture.angle_deg) @ turn("z", fracture.twist_deg)
    hinged = fracture.kind not in ("impacted", "buckle")
    pivot = [-_HINGE * fracture.radius_mm if hinged else 0.0, 0.0, 0.0]
    shift = local_frame(fracture) @ np.array(fracture.shift_mm) + [0, 0, fracture.gap_mm]
    return Motion(
        _tensor(rotation), _tensor(pivot), _tensor(shift),
        fade_mm=fracture.fade_mm,
        bend_mm=_BEND_MM if fracture.kind == "buckle" else 0.0,
        bulge=fracture.bulge_mm / fracture.radius_mm,
    )  # fmt: skip


def local_frame(fracture: Fracture) -> Float[np.ndarray, "3 3"]:
    """Rows: `across`, the direction at right angles to it and to the axis, and the axis, in world coordinates."""
    axis = np.array(fracture.axis) / np.linalg.norm(fracture.axis)
    across = np.array(fracture.across) - (np.array(fracture.across) @ axis) * axis
    across /= np.linalg.norm(across)
    return np.stack([across, np.cross(axis, across), axis])


def _height(fracture: Fracture, rng: np.random.Generator) -> Callable[[Points], Values]:
    """Height of the break along the axis: a plane or a screw, with teeth."""
    slope = math.tan(math.radians(fracture.slope_deg))
    teeth = _teeth(rng) * fracture.rough_mm

    def height(p: Points) -> Values:
        u, v, _ = p.T
        total = slope * u
        if fracture.pitch_mm:
            total = total + fracture.pitch_mm / (2 * math.pi) * torch.atan2(v, u)
        if fracture.rough_mm:
            i, j = ((x / _TABLE_MM + _TABLE // 2).int().clamp(0, _TABLE - 1) for x in (u, v))
            total = total + teeth[j * _TABLE + i]
        return total

    return height


def _teeth(rng: np.random.Generator) -> Values:
    """Smooth noise over the bone's cross-section, of standard deviation 1, row by row of a table."""
    angles, phases = rng.uniform(0, 2 * np.pi, (2, _WAVES))
    lengths = np.geomspace(*_TEETH_MM, _WAVES)
    sizes = lengths**0.5 * rng.uniform(0.5, 1.0, _WAVES)
    at = (np.arange(_TABLE) - _TABLE // 2) * _TABLE_MM
    ways = at[None, :, None] * np.cos(angles) + at[:, None, None] * np.sin(angles)
    waves = np.sin(ways * (2 * np.pi / lengths) + phases) @ sizes
    return _tensor(waves.ravel() * math.sqrt(2) / np.linalg.norm(sizes))


def _steepness(fracture: Fracture) -> float:
    """By how much the break rises over a mm, about."""
    screw = fracture.pitch_mm / (2 * math.pi * max(fracture.radius_mm, 1e-6))
    return math.hypot(math.tan(math.radians(fracture.slope_deg)), screw)


def _buckled(p: Points) -> Values:
    """Positive in the bone about a buckle."""
    return 2 * _BUCKLE_MM - p[:, 2].abs()


def _lobe(p: Points) -> Values:
    """1 towards `across`, 0 from a right angle to it on."""
    return p[:, 0].clamp(min=0) / torch.hypot(p[:, 0], p[:, 1]).clamp(min=1e-3)


def _tensor(values: np.ndarray | list[float]) -> Tensor:
    return torch.as_tensor(np.asarray(values), dtype=torch.float32)
