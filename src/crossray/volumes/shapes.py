"""Solid shapes as signed distances, from which the phantom's anatomy is modelled.

A shape answers `distance(points)`: about the distance to its surface in mm, negative inside, and `bounds()`: the
corners of a box that holds it. The distances are first-order estimates (value over gradient), exact for spheres
and good to a few per cent near the surface, where they are used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Points = tuple[Tensor, Tensor, Tensor]
"""Coordinates x, y, z in mm, three tensors of one shape."""
Triple = tuple[float, float, float]
Knots = Sequence[tuple[float, float]]
"""A curve given by (position in mm, value), positions rising."""

_STEP_MM = 0.1
_TINY = 1e-4


@runtime_checkable
class Shape(Protocol):
    """What every solid shape can tell about itself."""

    def distance(self, points: Points) -> Tensor:
        """Signed distance to the surface in mm, negative inside."""
        ...

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper corner (x, y, z) in mm of a box that holds the shape."""
        ...


def smooth_min(a: Tensor, b: Tensor, blend_mm: float) -> Tensor:
    """Minimum of two distances, rounded within `blend_mm`: the union of two shapes with a fillet.

    Source:
        Quilez, "Smooth minimum" (quadratic polynomial).
    """
    if blend_mm < _TINY:
        return torch.minimum(a, b)
    overlap = (blend_mm - (a - b).abs()).clamp_(min=0)
    return torch.minimum(a, b).sub_(overlap.square_(), alpha=0.25 / blend_mm)


def smooth_max(a: Tensor, b: Tensor, blend_mm: float) -> Tensor:
    """Maximum of two distances, rounded within `blend_mm`: the intersection of two shapes."""
    return -smooth_min(-a, -b, blend_mm)


@dataclass(frozen=True)
class Ellipsoid:
    """Points with |x/a|^p + |y/b|^p + |z/c|^p <= 1 about a centre; p = 2 is an ellipsoid, larger is boxier."""

    center: Triple
    radii: Triple
    power: int = 2

    def distance(self, points: Points) -> Tensor:
        """Signed distance in mm, negative inside."""
        scaled = [
            (p - c).mul_(1 / r).abs_()
            for p, c, r in zip(points, self.center, self.radii, strict=True)
        ]
        return _level_distance(scaled, self.radii, self.power)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners of the box that holds it, in mm."""
        center, radii = np.asarray(self.center, float), np.asarray(self.radii, float)
        return center - radii, center + radii


@dataclass(frozen=True)
class Capsule:
    """A rod between two points with a radius at each, flattened along y by `flat` (1 is round)."""

    start: Triple
    end: Triple
    start_radius: float
    end_radius: float
    flat: float = 1.0

    def distance(self, points: Points) -> Tensor:
        """Signed distance in mm, negative inside; where flattened, an estimate that is too short beside the rod."""
        axis = np.subtract(self.end, self.start) / (1.0, self.flat, 1.0)
        x, y, z = (p - c for p, c in zip(points, self.start, strict=True))
        y = y.mul_(1 / self.flat)
        along = (x * axis[0] + y * axis[1] + z * axis[2]).mul_(1 / float(axis @ axis)).clamp_(0, 1)
        x, y, z = (
            p.addcmul_(along, torch.tensor(-a, dtype=p.dtype))
            for p, a in zip((x, y, z), axis, strict=True)
        )
        radius = along.mul_(self.end_radius - self.start_radius).add_(self.start_radius)
        distance = x.square_().add_(y.square_()).add_(z.square_()).sqrt_().sub_(radius)
        return distance.mul_(min(1.0, (1 + self.flat) / 2))

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners of the box that holds it, in mm."""
        ends = np.array([self.start, self.end], float)
        reach = max(self.start_radius, self.end_radius) * np.array([1.0, max(self.flat, 1.0), 1.0])
        return ends.min(0) - reach, ends.max(0) + reach


@dataclass(frozen=True)
class Loft:
    """A shaft along z whose outline is given from the front (left, right) and from the side (front, back).

    Args:
        outline: Rows (z, left, right, front, back) in mm, z rising; left < right along x, front < back along y.
        round_mm: Radius of the rim where the shaft meets its end faces.
        lower: Slope (dz/dx, dz/dy) of the lower end face.
        upper: Slope (dz/dx, dz/dy) of the upper end face.
        power: 2 gives elliptic sections, larger boxier ones.
        wedge: How much narrower the front is than the back: 0 not at all, 0.5 a triangular section.
    """

    outline: tuple[tuple[float, float, float, float, float], ...]
    round_mm: float = 3.0
    lower: tuple[float, float] = (0.0, 0.0)
    upper: tuple[float, float] = (0.0, 0.0)
    power: int = 2
    wedge: float = 0.0

    @cached_property
    def _table(self) -> Float[Tensor, "step 4"]:
        """Centre x, centre y, half-width x, half-width y at every `_STEP_MM` along z."""
        from scipy.interpolate import PchipInterpolator

        rows = np.asarray(self.outline, float)
        z = np.arange(rows[0, 0], rows[-1, 0] + _STEP_MM, _STEP_MM).clip(max=rows[-1, 0])
        left, right, front, back = PchipInterpolator(rows[:, 0], rows[:, 1:])(z).T
        table = [(left + right) / 2, (front + back) / 2, (right - left) / 2, (back - front) / 2]
        return torch.tensor(np.stack(table, 1), dtype=torch.float32)

    def distance(self, points: Points) -> Tensor:
        """Signed distance in mm, negative inside."""
        x, y, z = points
        start, end = self.outline[0][0], self.outline[-1][0]
        step = ((z - start) / _STEP_MM).round_().clamp_(0, len(self._table) - 1).to(torch.int32)
        center_x, center_y, half_x, half_y = (column[step] for column in self._table.T.contiguous())
        v = (y - center_y) / half_y
        u = (x - center_x) / half_x
        if self.wedge:
            u = u / (1 + self.wedge * v.clamp(-1, 1))
        side = _level_distance([u.abs_(), v.abs_()], [half_x, half_y], self.power)
        top = _face(points, end, self.upper, self.outline[-1])
        bottom = -_face(points, start, self.lower, self.outline[0])
        return smooth_max(side, torch.maximum(top, bottom), self.round_mm)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners of the box that holds it, in mm."""
        rows = np.asarray(self.outline, float)
        tilt = np.abs([*self.lower, *self.upper]).max() * np.abs(rows[:, 1:]).max()
        low = [rows[:, 1].min(), rows[:, 3].min(), rows[0, 0] - tilt]
        high = [rows[:, 2].max(), rows[:, 4].max(), rows[-1, 0] + tilt]
        return np.array(low), np.array(high)


@dataclass(frozen=True)
class Union:
    """Several shapes grown together, with fillets of `blend_mm`."""

    shapes: tuple[Shape, ...]
    blend_mm: float = 3.0

    def distance(self, points: Points) -> Tensor:
        """Signed distance in mm, negative inside."""
        total = self.shapes[0].distance(points)
        for shape in self.shapes[1:]:
            total = smooth_min(total, shape.distance(points), self.blend_mm)
        return total

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners of the box that holds every part, in mm."""
        low, high = zip(*(shape.bounds() for shape in self.shapes), strict=True)
        return np.min(low, 0), np.max(high, 0)


@dataclass(frozen=True)
class Cut:
    """A shape with others carved out of it, the edges rounded by `blend_mm`."""

    shape: Shape
    tools: tuple[Shape, ...]
    blend_mm: float = 2.0

    def distance(self, points: Points) -> Tensor:
        """Signed distance in mm, negative inside."""
        total = self.shape.distance(points)
        for tool in self.tools:
            total = smooth_max(total, -tool.distance(points), self.blend_mm)
        return total

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners of the box that holds what is carved, in mm."""
        return self.shape.bounds()


@dataclass(frozen=True)
class Frame:
    """Where a shape stands: `rotation` (3x3) and `origin` (mm) map its own coordinates to the limb's."""

    rotation: np.ndarray
    origin: np.ndarray

    @staticmethod
    def at(
        origin: Triple | np.ndarray = (0.0, 0.0, 0.0), rotation: np.ndarray | None = None
    ) -> "Frame":
        """A frame from an origin in mm and a rotation, none by default."""
        return Frame(np.eye(3) if rotation is None else rotation, np.asarray(origin, float))

    def then(self, inner: "Frame") -> "Frame":
        """The frame `inner`, given in this frame's coordinates, in the limb's."""
        return Frame(self.rotation @ inner.rotation, self.point(inner.origin))

    def point(self, local: Triple | np.ndarray) -> np.ndarray:
        """Limb coordinates in mm of a point given in this frame."""
        return self.rotation @ np.asarray(local, float) + self.origin

    def local(self, axes: Points) -> Points:
        """Own coordinates of a grid spanned by three axes x, y, z (1-D, in mm), each [z, y, x]."""
        x, y, z = (
            axis.reshape(shape)
            for axis, shape in zip(axes, ((1, 1, -1), (1, -1, 1), (-1, 1, 1)), strict=True)
        )
        return self.inside((x, y, z))

    def inside(self, points: Points) -> Points:
        """Own coordinates of points given in the limb's; the three may broadcast."""
        x, y, z = points
        rotation, offset = self.rotation.T, -self.rotation.T @ self.origin
        rows = [
            ((y * float(r[1]) + float(c)) + z * float(r[2])) + x * float(r[0])
            for r, c in zip(rotation, offset, strict=True)
        ]
        return rows[0], rows[1], rows[2]

    def box(self, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
        """Corners, in the limb's coordinates, of a box that holds a shape standing in this frame."""
        bounds = np.stack(shape.bounds())
        corners = np.stack(np.meshgrid(*bounds.T, indexing="ij"), -1).reshape(-1, 3)
        points = corners @ self.rotation.T + self.origin
        return points.min(0), points.max(0)


@dataclass(frozen=True)
class Placed:
    """A shape standing in a frame of its own inside another."""

    shape: Shape
    frame: Frame

    def distance(self, points: Points) -> Tensor:
        """Signed distance in mm, negative inside."""
        return self.shape.distance(self.frame.inside(points))

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners of the box that holds it, in mm."""
        return self.frame.box(self.shape)


def triple(point: np.ndarray) -> Triple:
    """An array of three numbers as (x, y, z)."""
    x, y, z = point.tolist()
    return x, y, z


def turn(axis: str, degrees: float) -> np.ndarray:
    """Rotation by an angle about "x", "y" or "z", right-handed, as a 3x3 matrix."""
    c, s = float(np.cos(np.deg2rad(degrees))), float(np.sin(np.deg2rad(degrees)))
    rows = {
        "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
        "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
        "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
    }
    return np.array(rows[axis], float)


def _level_distance(
    scaled: Sequence[Tensor], radii: Sequence[Tensor | float], power: int
) -> Tensor:
    """(f - 1) / |grad f| for f the p-norm of coordinates given in radii (all non-negative)."""
    raised = [(u.clamp(min=_TINY)) ** (power - 1) for u in scaled]
    total = sum(
        (r * u for r, u in zip(raised, scaled, strict=True)),
        torch.full_like(scaled[0], _TINY**power),
    )
    slope = torch.zeros_like(total)
    for r, radius in zip(raised, radii, strict=True):
        slope += (r / radius) ** 2
    norm = total.sqrt() if power == 2 else total ** (1 / power)
    return (norm - 1) * norm ** (power - 1) / slope.sqrt()


def _face(
    points: Points,
    z: float,
    slope: tuple[float, float],
    row: tuple[float, float, float, float, float],
) -> Tensor:
    """Signed height above an end face at `z` that tilts about the middle of its outline row."""
    if slope == (0.0, 0.0):
        return points[2] - z
    x, y = points[0] - (row[1] + row[2]) / 2, points[1] - (row[3] + row[4]) / 2
    height = points[2] - z - x * slope[0] - y * slope[1]
    return height / float(np.sqrt(1 + slope[0] ** 2 + slope[1] ** 2))
