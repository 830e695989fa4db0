"""Cone-beam cameras as four world vectors a view."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crossray.errors import InputError

_FIELDS = ("source", "first_pixel", "column_step", "row_step")

Numbers = float | np.number | Sequence[float] | np.ndarray | Tensor
"""One number for all views, or one a view."""


@dataclass(frozen=True, eq=False)
class Cameras:
    """One or more cone-beam views with flat detectors of one size; conventions in `crossray.geometry`.

    Args:
        source: X-ray source, world mm, (view, 3).
        first_pixel: Centre of pixel (0, 0), world mm, (view, 3).
        column_step: From a pixel's centre to its right neighbour's, mm, (view, 3).
        row_step: From a pixel's centre to its lower neighbour's, mm, (view, 3).
        size: Detector rows and columns.

    Raises:
        InputError: Shapes that differ, values that are not finite, an empty detector, or a source in the
            detector's plane.

    Example:
        >>> camera = Cameras.from_angles(0, 0, 0, sod_mm=1000, sdd_mm=1100, size=(3, 3), pixel_mm=1.0)
        >>> camera.source.tolist(), camera.first_pixel.tolist()
        ([[0.0, 1000.0, 0.0]], [[-1.0, -100.0, 1.0]])
    """

    source: Float[Tensor, "view 3"]
    first_pixel: Float[Tensor, "view 3"]
    column_step: Float[Tensor, "view 3"]
    row_step: Float[Tensor, "view 3"]
    size: tuple[int, int]

    def __post_init__(self) -> None:
        for name in _FIELDS:
            vectors = torch.atleast_2d(
                torch.as_tensor(getattr(self, name), dtype=torch.float64, device="cpu")
            )
            object.__setattr__(self, name, vectors)
            if vectors.shape != (len(self.source), 3) or len(vectors) == 0:
                raise InputError(
                    f"cameras.{name} has shape {tuple(vectors.shape)}; expected (view, 3) alike for all."
                )
            if not torch.isfinite(vectors).all():
                raise InputError(
                    f"cameras.{name} holds NaN or infinite values; give world positions in mm."
                )
        rows, columns = (int(n) for n in self.size)
        object.__setattr__(self, "size", (rows, columns))
        if rows < 1 or columns < 1:
            raise InputError(
                f"A detector of {rows} x {columns} pixels is empty; give at least one row and column."
            )
        steps = torch.linalg.norm(self.column_step, dim=1) * torch.linalg.norm(self.row_step, dim=1)
        if (self._volume_per_pixel().abs() <= 1e-9 * steps).any():
            raise InputError(
                "A camera's source lies in its detector plane or its steps are parallel; check its vectors."
            )

    @classmethod
    def from_angles(
        cls,
        primary: Numbers,
        secondary: Numbers,
        roll: Numbers = 0.0,
        *,
        sod_mm: Numbers,
        sdd_mm: Numbers,
        size: tuple[int, int],
        pixel_mm: Numbers,
        isocenter: Float[Tensor, " 3"] | Sequence[float] | np.ndarray = (0.0, 0.0, 0.0),
    ) -> "Cameras":
        """Cameras on a C-arm whose central ray passes through the isocentre and the detector's middle.

        Every argument but `size` and `isocenter` is one number for all views or one a view.

        Args:
            primary: Positioner primary angle in degrees, LAO positive (0018,1510).
            secondary: Positioner secondary angle in degrees, cranial positive (0018,1511).
            roll: Rotation of the detector about the beam in degrees.
            sod_mm: Source to isocentre.
            sdd_mm: Source to detector, at least `sod_mm` (0018,1110).
            size: Detector rows and columns.
            pixel_mm: Pixel pitch at the detector.
            isocenter: World position in mm.

        Raises:
            InputError: Numbers for different numbers of views, or distances that make no camera.
        """
        numbers = [
            torch.atleast_1d(torch.as_tensor(x, dtype=torch.float64))
            for x in (primary, secondary, roll, sod_mm, sdd_mm, pixel_mm)
        ]
        counts = [x.numel() for x in numbers]
        if any(x.ndim > 1 for x in numbers) or len({*counts} - {1}) > 1:
            raise InputError(
                f"primary, secondary, roll, sod_mm, sdd_mm and pixel_mm have lengths {counts}; "
                "give one each or one a view."
            )
        a, b, r, sod, sdd, pitch = (x[:, None] for x in torch.broadcast_tensors(*numbers))
        if (sod <= 0).any() or (sdd < sod).any() or (pitch <= 0).any():
            raise InputError(
                "Distances need 0 < sod_mm <= sdd_mm and pixel_mm > 0; check their order and unit (mm)."
            )
        a, b, r = torch.deg2rad(a), torch.deg2rad(b), torch.deg2rad(r)
        zero = torch.zeros_like(a)
        beam = torch.cat([a.sin() * b.cos(), -a.cos() * b.cos(), b.sin()], 1)
        right = torch.cat([a.cos(), a.sin(), zero], 1)
        down = torch.cat([a.sin() * b.sin(), -a.cos() * b.sin(), -b.cos()], 1)
        # A right-handed turn about the beam; right x down points against it, so the signs are those of -roll.
        column_step = pitch * (r.cos() * right - r.sin() * down)
        row_step = pitch * (r.sin() * right + r.cos() * down)
        center = torch.as_tensor(isocenter, dtype=torch.float64)
        rows, columns = size
        middle = center + (sdd - sod) * beam
        first = middle - (columns - 1) / 2 * column_step - (rows - 1) / 2 * row_step
        return cls(center - sod * beam, first, column_step, row_step, size)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, view: int | slice | Sequence[int]) -> "Cameras":
        """The chosen views, in the order given."""
        index = [view] if isinstance(view, int) else view
        return Cameras(*(getattr(self, name)[index] for name in _FIELDS), size=self.size)

    @staticmethod
    def stack(cameras: Sequence["Cameras"]) -> "Cameras":
        """All views of several cameras of one detector size, in order."""
        if len({c.size for c in cameras}) != 1:
            raise InputError(
                f"Cameras of sizes {[c.size for c in cameras]} cannot be stacked; regrid them to one size."
            )
        return Cameras(
            *(torch.cat([getattr(c, name) for c in cameras]) for name in _FIELDS),
            size=cameras[0].size,
        )

    def crop(self, row: float, column: float, size: tuple[int, int]) -> "Cameras":
        """The window of `size` pixels whose pixel (0, 0) is this camera's (row, column); it may lie outside."""
        first = self.first_pixel + row * self.row_step + column * self.column_step
        return Cameras(self.source, first, self.column_step, self.row_step, size)

    def regrid(self, size: tuple[int, int]) -> "Cameras":
        """The same field, edge to edge, with other rows and columns: with a patch grid's size, pixels are patches."""
        row_step = self.row_step * (self.size[0] / size[0])
        column_step = self.column_step * (self.size[1] / size[1])
        corner = self.first_pixel - 0.5 * (self.row_step + self.column_step)
        return Cameras(
            self.source, corner + 0.5 * (row_step + column_step), column_step, row_step, size
        )

    def moved(self, motion: Float[Tensor, "4 4"]) -> "Cameras":
        """These cameras carried along by a motion of the world, such as `rigid_motion`; differentiable by it.

        Moving the cameras by a motion shows what moving the patient by its inverse does.

        Args:
            motion: Matrix that maps world (x, y, z, 1) before the motion to after it, mm.
        """
        turn, shift = motion[:3, :3].T, motion[:3, 3]
        return Cameras(
            self.source @ turn + shift,
            self.first_pixel @ turn + shift,
            self.column_step @ turn,
            self.row_step @ turn,
            self.size,
        )

    def project_points(self, points: Float[Tensor, "point 3"]) -> Float[Tensor, "view point 2"]:
        """Detector position (row, column) of world points in mm; NaN for points not in front of the source."""
        points = torch.as_tensor(points, dtype=torch.float64)
        homogeneous = torch.cat([points, torch.ones_like(points[:, :1])], 1)
        row, column, depth = torch.einsum("vij,pj->ivp", self.projection_matrices(), homogeneous)
        return torch.stack([row, column], -1) / torch.where(depth > 0, depth, torch.nan)[..., None]

    def projection_matrices(self) -> Float[Tensor, "view 3 4"]:
        """Matrices that map world (x, y, z, 1) to depth * (row, column, 1); the source has depth 0, the detector 1."""
        # A point X lies on the ray of (row, column): X - source = depth * (first - source + row * r + column * c).
        basis = torch.stack([self.row_step, self.column_step, self.first_pixel - self.source], -1)
        inverse = torch.linalg.inv(basis)
        return torch.cat([inverse, -inverse @ self.source[:, :, None]], -1)

    def pixel_positions(self) -> Float[Tensor, "view row column 3"]:
        """World positions of all pixel centres, mm."""
        rows = torch.arange(self.size[0], dtype=torch.float64)[:, None, None]
        columns = torch.arange(self.size[1], dtype=torch.float64)[:, None]
        vectors = (v[:, None, None] for v in (self.first_pixel, self.row_step, self.column_step))
        first, row_step, column_step = vectors
        return first + rows * row_step + columns * column_step

    def _volume_per_pixel(self) -> Float[Tensor, " view"]:
        normal = torch.linalg.cross(self.column_step, self.row_step)
        first = self.first_pixel - self.source
        return (first * normal).sum(1) / (torch.linalg.norm(first, dim=1) + 1e-300)
