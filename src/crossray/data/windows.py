"""Windows on real films: cut anew, one film independently of another, so that places tell nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from crossray.projection.appearance import stretch

HEIGHTS = (0.55, 1.0)
"""Least and greatest height of a window in heights of the film."""


@dataclass(frozen=True)
class Window:
    """A turned square window on a film.

    Args:
        row: Its centre's row in the film, whole numbers at pixel centres.
        column: Its centre's column.
        side: Its side in pixels of the film.
        turn_deg: By how much its columns lean against the film's, from rows to columns.
    """

    row: float
    column: float
    side: float
    turn_deg: float

    def place(self, point: tuple[float, float]) -> tuple[float, float]:
        """Where a point of the film lies, as fractions of the window's height and width from its top left corner."""
        down, right = point[0] - self.row, point[1] - self.column
        c, s = cos(radians(self.turn_deg)), sin(radians(self.turn_deg))
        return 0.5 + (c * down + s * right) / self.side, 0.5 + (c * right - s * down) / self.side

    def patches(self, side: int) -> Float[Tensor, "patch 4"]:
        """What each of side x side patches of a window that is not turned covers, as `Matches.patch_box` counts."""
        edges = torch.linspace(-0.5, 0.5, side + 1) * self.side
        rows, columns = edges + self.row + 0.5, edges + self.column + 0.5
        first = torch.cartesian_prod(rows[:-1], columns[:-1])
        return torch.cat([first, torch.cartesian_prod(rows[1:], columns[1:])], 1)

    def number(self, points: Float[Tensor, "point 2"], side: int) -> Int[Tensor, " point"]:
        """Which of side x side patches of a window that is not turned holds each row and column; -1 for none."""
        middle = torch.tensor([self.row, self.column])
        place = (((points - middle) / self.side + 0.5) * side).floor().long()
        inside = ((place >= 0) & (place < side)).all(1)
        return torch.where(inside, place[:, 0] * side + place[:, 1], -1)

    def cut(self, film: Float[Tensor, "row column"], size: int) -> Float[Tensor, "size size"]:
        """The window's picture, `size` pixels a side; beyond the film its edge goes on."""
        small = coarser(film, size / self.side)
        at = ((torch.arange(size, dtype=torch.float64) + 0.5) / size - 0.5) * self.side
        down, right = torch.meshgrid(at, at, indexing="ij")
        c, s = cos(radians(self.turn_deg)), sin(radians(self.turn_deg))
        row, column = self.row + c * down - s * right, self.column + c * right + s * down
        rows, columns = film.shape
        grid = torch.stack([(2 * column + 1) / columns - 1, (2 * row + 1) / rows - 1], -1).float()
        return functional.grid_sample(
            small[None, None], grid[None], padding_mode="border", align_corners=False
        )[0, 0]


def coarser(film: Float[Tensor, "row column"], scale: float) -> Float[Tensor, "down across"]:
    """A film of `scale` times as many pixels a side if that is less, averaged so that fine texture does not alias."""
    shape = [max(2, round(side * min(1.0, scale))) for side in film.shape]
    return functional.interpolate(film[None, None], shape, mode="bilinear", antialias=True)[0, 0]


def cut_all(
    windows: Iterable[Window], films: Iterable[Float[Tensor, "row column"]], size: int
) -> Float[Tensor, "view size size"]:
    """The pictures of a window on each film, in [0, 1], as a matcher takes them."""
    cuts = (window.cut(film.float(), size) for window, film in zip(windows, films, strict=True))
    return torch.stack([stretch(cut) for cut in cuts])


def whole_window(film: Float[Tensor, "row column"]) -> Window:
    """The least window about a whole film."""
    rows, columns = film.shape
    return Window((rows - 1) / 2, (columns - 1) / 2, max(rows, columns), 0.0)


def draw_window(
    rng: np.random.Generator, film: Float[Tensor, "row column"], turn_deg: float = 0.0
) -> Window:
    """A window of random height and place on a film, turned by up to `turn_deg` either way.

    One wider than the film lies across its middle.
    """
    rows, columns = film.shape
    side = rows * rng.uniform(*HEIGHTS)
    row = rng.uniform(side / 2, rows - side / 2) - 0.5
    across = max(columns - side, 0.0) / 2
    column = columns / 2 + rng.uniform(-across, across) - 0.5
    return Window(row, column, side, rng.uniform(-turn_deg, turn_deg))
