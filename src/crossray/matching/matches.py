"""What a matcher says about two or more films, in the films' own pixels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from crossray.correspondence.epipolar import level_agreement
from crossray.errors import InputError
from crossray.evaluation.calibration import Calibration
from crossray.evaluation.judged import strength
from crossray.matching.preprocess import Field


@dataclass(frozen=True)
class RelativePose:
    """How a second film was taken with respect to a first.

    Args:
        turn_deg: Angle between the two beams, 0 to 180.
        roll_deg: Roll of the second film less that of the first, as `Cameras.from_angles` counts it, in (-90, 90].
        level_deg: In either film, the angle from its row axis (downwards) to the direction across levels, towards its
            columns; levels themselves run at right angles to it.
    """

    turn_deg: float
    roll_deg: float
    level_deg: tuple[float, float]


@dataclass(frozen=True, repr=False)
class Matches:
    """Correspondence between the patches of every two films.

    Args:
        correspondence: [k, l, p, q] in [0, 1], float32: how sure patch p of view k holds something that patch q of view
            l holds too; row-major over the grid. Zero where k = l, and wherever a patch lies wholly beside its film.
        grid: (rows, columns) of the patch grid, the same for every view.
        fields: The network's whole field in each film's pixels, one a view.
        images: The films (row, column) in [0, 1] as they were read.
        names: What the views are called, one a view.
        weights: Name of the weights that matched them.
        seconds: Time the matching took, films read already.
        calibration: What the values are worth, where it was measured on people these weights never saw.
    """

    correspondence: Float[Tensor, "view view patch patch"]
    grid: tuple[int, int]
    fields: tuple[Field, ...]
    images: tuple[Tensor, ...]
    names: tuple[str, ...]
    weights: str = ""
    seconds: float = 0.0
    calibration: Calibration | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_size(self) -> tuple[tuple[int, int], ...]:
        """(rows, columns) of every film."""
        return tuple((image.shape[0], image.shape[1]) for image in self.images)

    @property
    def patch_box(self) -> Float[Tensor, "view patch 4"]:
        """Where every patch lies, (row0, column0, row1, column1) in the film's pixels, clipped to the film.

        Edges are counted from the film's top left corner: pixel (r, c) fills [r, r + 1) x [c, c + 1). A patch wholly
        beside its film has a box without area at the film's edge.
        """
        return torch.stack([self._boxes(view) for view in range(len(self))])

    def patch_at(self, view: int, point: tuple[float, float]) -> int:
        """Number of the patch that holds a point of a film.

        Args:
            view: The film.
            point: (row, column) in the film's pixels, pixel centres at whole numbers.

        Raises:
            InputError: There is no such view, or the point lies outside its film.
        """
        if not 0 <= view < len(self):
            raise InputError(f"There is no view {view}; the views are 0 to {len(self) - 1}.")
        rows, columns = self.image_size[view]
        row, column = point[0] + 0.5, point[1] + 0.5
        if not (0 <= row < rows and 0 <= column < columns):
            raise InputError(
                f"The point {tuple(point)} lies outside view {view} ({rows} x {columns} pixels)."
            )
        field = self.fields[view]
        i = int((row - field.row0) / (field.row1 - field.row0) * self.grid[0])
        j = int((column - field.column0) / (field.column1 - field.column0) * self.grid[1])
        return i * self.grid[1] + j

    def band(self, view: int, point: tuple[float, float]) -> dict[int, Float[Tensor, "row column"]]:
        """Where a point of one film may lie in the others.

        Args:
            view: The film pointed at.
            point: (row, column) in its pixels, pixel centres at whole numbers.

        Returns:
            For every other view its heat map in [0, 1] at the film's own size: the correspondence of the patch
            pointed at, interpolated bilinearly between patch centres.

        Raises:
            InputError: There is no such view, or the point lies outside its film.
        """
        patch = self.patch_at(view, point)
        others = (other for other in range(len(self)) if other != view)
        return {
            other: self._heat(other, self.correspondence[view, other, patch]) for other in others
        }

    @property
    def probability(self) -> Float[Tensor, "view view patch patch"]:
        """Probability that two patches match, as measured on people these weights never saw; zero where k = l.

        Raises:
            InputError: Weights without a calibration.
        """
        return self._calibrated().probability(self.correspondence)

    def region(
        self, view: int, point: tuple[float, float], coverage: float = 0.9
    ) -> dict[int, Bool[Tensor, "row column"]]:
        """Where a point of one film lies in the others with a stated coverage, if it lies in them at all.

        Args:
            view: The film pointed at.
            point: (row, column) in its pixels, pixel centres at whole numbers.
            coverage: Share of what matches a point that its region holds, on average over points and people, from
                0.5 to 0.95.

        Returns:
            For every other view which pixels belong to the region, made of whole patches.

        Raises:
            InputError: No such view or point, weights without a calibration, or a coverage that was never fitted.
        """
        patch, calibration = self.patch_at(view, point), self._calibrated()
        regions = {}
        for other in range(len(self)):
            if other != view:
                chosen = calibration.chosen(self.correspondence[view, other, patch], coverage)
                regions[other] = self._pixels(other, chosen)
        return regions

    def related(self, view: int = 0, other: int = 1) -> float:
        """Probability that two of the films show the same limb of the same person, where half of all pairs do.

        Raises:
            InputError: No such two views, or weights without a calibration.
        """
        return self._calibrated().related_probability(strength(self._block(view, other)))

    def relative_pose(self, view: int = 0, other: int = 1) -> RelativePose:
        """How two of the films were taken with respect to each other, from the matches alone.

        Two films seen from far do not tell which way the beam was turned, nor the turn itself but for how places
        within a level match (see `crossray.correspondence.epipolar`): the turn is the least certain. Films that do not
        belong together get a pose too, one that means nothing: ask `related` first.

        Raises:
            InputError: No such two views, matches that lie on one line or nowhere, or weights without a calibration.
        """
        calibration = self._calibrated()
        found = level_agreement(self._block(view, other), self.grid)
        return RelativePose(
            turn_deg=calibration.turn_deg(found.within),
            roll_deg=found.roll_deg,
            level_deg=(found.first_deg, found.second_deg),
        )

    def save(self, directory: str | Path, truth: Tensor | None = None) -> list[Path]:
        """Write matches.npz, matches.json, matches.png and matches.html; all of them or none.

        Args:
            directory: Where to; made if it is missing, files of these names are replaced.
            truth: The true correspondence, of the same shape, to show beside the predicted one.

        Returns:
            The files written.

        Raises:
            InputError: The directory cannot be written, or the truth has another shape.
        """
        from crossray.matching.files import save_matches

        return save_matches(self, Path(directory), truth)

    def _calibrated(self) -> Calibration:
        if self.calibration is None:
            raise InputError(
                f"These matches of {self.weights} have no calibration: the weights carry none (`crossray calibrate` "
                "measures one), or another grid than the trained one was asked for."
            )
        return self.calibration

    def _block(self, view: int, other: int) -> Float[Tensor, "patch other_patch"]:
        if view == other or not {view, other} <= set(range(len(self))):
            raise InputError(
                f"Views {view} and {other} are no two of the {len(self)} views; they are numbered from 0."
            )
        return self.correspondence[view, other]

    def _pixels(self, view: int, chosen: Bool[Tensor, " patch"]) -> Bool[Tensor, "row column"]:
        """The pixels of the chosen patches: those whose centres lie in them."""
        field, (rows, columns) = self.fields[view], self.image_size[view]
        down = (torch.arange(rows) + 0.5 - field.row0) / (field.row1 - field.row0)
        across = (torch.arange(columns) + 0.5 - field.column0) / (field.column1 - field.column0)
        i, j = (
            (place * cells).long().clamp(0, cells - 1)
            for place, cells in zip((down, across), self.grid, strict=True)
        )
        return chosen.view(self.grid)[i][:, j]

    def _heat(self, view: int, values: Float[Tensor, " patch"]) -> Float[Tensor, "row column"]:
        """Patch values interpolated to the film's pixels."""
        field, (rows, columns) = self.fields[view], self.image_size[view]
        down = between_centres(rows, (field.row0, field.row1), self.grid[0])
        across = between_centres(columns, (field.column0, field.column1), self.grid[1])
        return down @ values.view(self.grid) @ across.T

    def _boxes(self, view: int) -> Float[Tensor, "patch 4"]:
        """Boxes of all patches of one view, clipped to its film."""
        field, (rows, columns) = self.fields[view], self.image_size[view]
        row = torch.linspace(field.row0, field.row1, self.grid[0] + 1, dtype=torch.float64).clamp(
            0, rows
        )
        column = torch.linspace(field.column0, field.column1, self.grid[1] + 1, dtype=torch.float64)
        column = column.clamp(0, columns)
        top, left = torch.meshgrid(row[:-1], column[:-1], indexing="ij")
        bottom, right = torch.meshgrid(row[1:], column[1:], indexing="ij")
        return torch.stack([top, left, bottom, right], dim=-1).flatten(0, 1).float()

    def summary(self) -> dict[str, Any]:
        """What `matches.json` holds: the views, where the grid lies on them, and how strong the matches are."""
        views = [
            {"name": name, "image_size": list(size), "field": [round(edge, 4) for edge in field]}
            for name, size, field in zip(self.names, self.image_size, self.fields, strict=True)
        ]
        pairs = [
            {
                "from": view,
                "to": other,
                "strongest": round(self.correspondence[view, other].max().item(), 4),
                "above_0.2": int((self.correspondence[view, other] > 0.2).sum()),
                **({"related": round(self.related(view, other), 4)} if self.calibration else {}),
            }
            for view in range(len(self))
            for other in range(len(self))
            if view != other
        ]
        return {
            "weights": self.weights,
            "grid": list(self.grid),
            "seconds": round(self.seconds, 3),
            "views": views,
            "pairs": pairs,
        }

    def __repr__(self) -> str:
        return f"Matches({', '.join(self.names)}: {self.grid[0]} x {self.grid[1]} patches, {self.seconds:.2f} s)"


def between_centres(
    length: int, edges: tuple[float, float], cells: int
) -> Float[Tensor, "pixel cell"]:
    """Linear weights that carry values at the cells' centres to pixel centres.

    Pixels beyond the centre of the outermost cell that touches the film take that cell's value.

    Args:
        length: Number of pixels.
        edges: Where the first cell begins and the last one ends, in pixels from the first pixel's outer edge.
        cells: Number of cells between the edges.
    """
    first, last = edges
    cell = (last - first) / cells
    start = max(0, int(-first / cell + 1e-6))
    stop = min(cells - 1, cells - 1 - int((last - length) / cell + 1e-6))
    place = (torch.arange(length, dtype=torch.float64) + 0.5 - first) / cell - 0.5
    place = place.clamp(start, stop)
    distance = (place[:, None] - torch.arange(cells, dtype=torch.float64)).abs()
    return (1 - distance).clamp(min=0).float()
