"""Pictures of matches: points in one view and their bands in the others, in the same colours.

A point in one radiograph lies somewhere on a ray, so in another view it matches a band, not a point. The band's colour
fades with C relative to the band's own maximum and ends at a fifth of it; the outline stands at half.
"""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from crossray.correspondence.patches import POSITIVE_ABOVE
from crossray.errors import InputError
from crossray.evaluation.slope import band_rows
from crossray.files import written_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy import ndarray

COLOURS = ("#ffb000", "#35c8ff", "#ff5c9d", "#8fe35a")
"""Amber, sky, pink and green: told apart on grey films and by colour-blind readers."""
_PAPER, _INK, _FAINT = "#0b0e13", "#f2f4f8", "#98a2b3"
_PANEL_INCHES = 4.6
_DPI = 160
_MARGIN = 0.34
"""Inches around the panels; the header takes twice as much."""
_SMOOTH = 12
"""Drawn samples of a band per patch and axis."""

_FLOOR = 0.2
"""Share of a band's maximum below which nothing is drawn."""
_OPACITY = 0.68
"""Of a band at its maximum."""
_WHITE = 1.2
"""Value drawn white under bands: those films are dimmed a little, so that colours stand out on bone."""

Point = tuple[float, float]
"""(row, column) in pixels of the first view; pixel centres at whole numbers."""


@dataclass(frozen=True)
class FilmView:
    """A radiograph to draw.

    Args:
        image: (row, column) in [0, 1], bone bright, any size.
        name: Stands above the picture.
        field: The area the patch grid covers as edges (row0, column0, row1, column1) in pixels counted
            from the film's top left corner; it may reach beyond the film. None: the whole film.
    """

    image: Float[Tensor, "row column"]
    name: str = ""
    field: tuple[float, float, float, float] | None = None

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """The field, or the whole film."""
        rows, columns = self.image.shape
        return self.field or (0.0, 0.0, float(rows), float(columns))

    def patch_of(self, point: Point, grid: tuple[int, int]) -> int | None:
        """Row-major number of the patch that holds a point; None outside the field."""
        row0, column0, row1, column1 = self.edges
        row = (point[0] + 0.5 - row0) / (row1 - row0) * grid[0]
        column = (point[1] + 0.5 - column0) / (column1 - column0) * grid[1]
        inside = 0 <= row < grid[0] and 0 <= column < grid[1]
        return int(row) * grid[1] + int(column) if inside else None

    def centre_of(self, patch: int, grid: tuple[int, int]) -> Point:
        """The centre of a patch in pixels."""
        row0, column0, row1, column1 = self.edges
        row, column = divmod(patch, grid[1])
        return (
            row0 + (row + 0.5) * (row1 - row0) / grid[0] - 0.5,
            column0 + (column + 0.5) * (column1 - column0) / grid[1] - 0.5,
        )


def matches_figure(
    views: Sequence[FilmView],
    predicted: Float[Tensor, "view view patch patch"],
    path: str | os.PathLike[str],
    truth: Float[Tensor, "view view patch patch"] | None = None,
    points: Sequence[Point] | None = None,
    grid: tuple[int, int] = (16, 16),
) -> None:
    """Draw points in the first view and their bands in all others, and write the picture as PNG.

    With a truth there are two rows, the prediction above the truth. The file appears whole or not at all.

    Args:
        views: Two radiographs or more, of any sizes.
        predicted: Predicted correspondence in [0, 1].
        path: PNG file to write; its folder is made.
        truth: True correspondence, if known.
        points: Up to four points in the first view; None picks telling ones, see `telling_points`.
        grid: Patches along rows and columns of a view.

    Raises:
        InputError: Fewer than two views, more than four points, a point outside the first view's field, or a matrix
            that does not fit views and grid.
    """
    expected = (len(views), len(views), grid[0] * grid[1], grid[0] * grid[1])
    for matrix in (predicted, truth):
        if len(views) < 2 or (matrix is not None and matrix.shape != expected):
            raise InputError(
                f"A figure of {len(views)} views on a grid of {grid} needs two views or more and matrices {expected}."
            )
    if points is None:
        points = telling_points(views[0], predicted if truth is None else truth, grid)
    if len(points) > len(COLOURS):
        raise InputError(
            f"{len(points)} points are too many to tell apart; give at most {len(COLOURS)}."
        )
    rows = (
        [("predicted", predicted)] if truth is None else [("predicted", predicted), ("true", truth)]
    )
    figure, axes = _panels(views, len(rows))
    for number, (label, matrix) in enumerate(rows):
        if truth is not None:
            axes[number][0].set_ylabel(label, color=_INK, fontsize=13, labelpad=8)
        _draw_row(axes[number], views, matrix, points, grid)
    _write_png(figure, Path(path))


def telling_points(
    view: FilmView,
    correspondence: Float[Tensor, "view view patch patch"],
    grid: tuple[int, int],
    count: int = 4,
) -> list[Point]:
    """Points of the first view that are bright, match clear bands everywhere, and spread along the limb.

    Args:
        view: The first view.
        correspondence: Predicted or true.
        grid: Patches along rows and columns.
        count: How many at most; fewer where too few patches match.

    Returns:
        Centres of patches from top to bottom.
    """
    bands = correspondence[0, 1:].detach().float().cpu()
    brightness = _patch_brightness(view, grid)
    peak = bands.amax(-1).amin(0)
    spread = (bands > 0.5 * bands.amax(-1, keepdim=True)).float().mean(-1).amax(0)
    touches = torch.stack([band_rows(band, grid)[1] for band in bands]).any(0)
    score = (
        brightness
        * peak.clamp(max=0.6)
        * (1.0 - spread).clamp(min=0.0).square()
        * torch.where(touches, 0.3, 1.0)
    )
    score = torch.where((peak > POSITIVE_ABOVE) & (brightness > 0), score, 0.0).view(grid)
    usable = (score.amax(1) > 0).nonzero().flatten().tolist()
    if not usable:
        return []
    edges = torch.linspace(usable[0], usable[-1] + 1, count + 1).round().int().tolist()
    points = []
    for first, last in pairwise(edges):
        rows = torch.arange(first, last)
        centred = torch.exp(
            -((rows + 0.5 - (first + last) / 2) / max(1, last - first) * 2).square()
        )
        stretch = score[first:last] * centred[:, None]
        if stretch.numel() and stretch.max() > 0:
            points.append(view.centre_of(first * grid[1] + int(stretch.argmax()), grid))
    return points


def _patch_brightness(view: FilmView, grid: tuple[int, int]) -> Float[Tensor, " patch"]:
    """Mean brightness of each patch, 0 where the field lies beyond the film."""
    row0, column0, row1, column1 = view.edges
    rows, columns = view.image.shape
    y = (row0 + (torch.arange(4 * grid[0]) + 0.5) / (4 * grid[0]) * (row1 - row0)) / rows * 2 - 1
    x = (
        column0 + (torch.arange(4 * grid[1]) + 0.5) / (4 * grid[1]) * (column1 - column0)
    ) / columns * 2 - 1
    where = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=-1)
    image = view.image.detach().float().cpu()[None, None]
    sampled = functional.grid_sample(image, where[None], align_corners=False)
    return functional.avg_pool2d(sampled, 4).flatten()


def _panels(views: Sequence[FilmView], rows: int) -> tuple["Figure", list[list["Axes"]]]:
    """A dark figure with one axes per view and row, each as wide as its film's aspect asks."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    widths = [
        _PANEL_INCHES * min(max(view.image.shape[1] / view.image.shape[0], 0.4), 1.6)
        for view in views
    ]
    left, gap, top, bottom = (
        (1.2 if rows > 1 else 1.0) * _MARGIN,
        0.5 * _MARGIN,
        1.3 * _MARGIN,
        1.5 * _MARGIN,
    )
    width = left + sum(widths) + gap * (len(views) - 1) + _MARGIN
    height = top + rows * _PANEL_INCHES + gap * (rows - 1) + bottom
    figure = Figure(figsize=(width, height), facecolor=_PAPER)
    FigureCanvasAgg(figure)
    axes = []
    for row in range(rows):
        y = bottom + (rows - 1 - row) * (_PANEL_INCHES + gap)
        starts = [left + sum(widths[:column]) + gap * column for column in range(len(views))]
        boxes = [
            (x / width, y / height, each / width, _PANEL_INCHES / height)
            for x, each in zip(starts, widths, strict=True)
        ]
        axes.append([figure.add_axes(box) for box in boxes])
    for panel, view in zip(axes[0], views, strict=True):
        panel.set_title(view.name, color=_INK, fontsize=13, pad=7)
    others = "views" if len(views) > 2 else "view"
    figure.text(
        left / width,
        0.55 * bottom / height,
        f"Each ring marks a point; the band of its number shows where it can lie in the other {others}.",
        color=_FAINT,
        fontsize=min(10.0, 1.25 * width),
        va="center",
    )
    return figure, axes


def _draw_row(
    axes: Sequence["Axes"],
    views: Sequence[FilmView],
    matrix: Tensor,
    points: Sequence[Point],
    grid: tuple[int, int],
) -> None:
    """The films, the pins in the first and the bands in the others."""
    bands: list[list[tuple[int, Tensor]]] = [[] for _ in views]
    for number, point in enumerate(points):
        patch = views[0].patch_of(point, grid)
        if patch is None:
            raise InputError(
                f"Point {point} lies outside the first view; give (row, column) inside the film."
            )
        _draw_pin(axes[0], point, number)
        for place in range(1, len(views)):
            band = matrix[0, place, patch].detach().float().cpu()
            if band.max() > POSITIVE_ABOVE:
                smooth = _smoothed(band, grid)
                bands[place].append((number, smooth))
                _outline(axes[place], views[place], band, smooth, number, grid)
    for panel, view, shown in zip(axes, views, bands, strict=True):
        rows, columns = view.image.shape
        panel.imshow(
            _picture(panel, view, shown, 1.0 if view is views[0] else _WHITE),
            extent=(-0.5, columns - 0.5, rows - 0.5, -0.5),
            interpolation="nearest",
            aspect="auto",
        )
        panel.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), xticks=[], yticks=[])
        panel.set_facecolor("black")
        for spine in panel.spines.values():
            spine.set_color("#2a3140")


def _smoothed(band: Float[Tensor, " patch"], grid: tuple[int, int]) -> Float[Tensor, "y x"]:
    """The band relative to its maximum, in `_SMOOTH` samples a patch."""
    patches = (band / band.max()).view(1, 1, *grid)
    return functional.interpolate(patches, scale_factor=_SMOOTH, mode="bicubic")[0, 0].clamp(0, 1)


def _picture(
    panel: "Axes", view: FilmView, bands: Sequence[tuple[int, Tensor]], white: float
) -> "ndarray":
    """The film and its translucent bands in the panel's own pixels (row, column, colour), 8 bits."""
    from matplotlib.colors import to_rgb

    box = panel.get_position().transformed(panel.figure.transSubfigure)
    scale = _DPI / panel.figure.dpi
    size = (round(box.height * scale), round(box.width * scale))
    film = view.image.detach().float().cpu()[None, None]
    film = functional.interpolate(film, size=size, mode="bicubic", antialias=True)[0, 0]
    picture = (film.clamp(0, 1) / white).expand(3, -1, -1)
    where = _where(view, size)
    for number, smooth in bands:
        heat = functional.grid_sample(smooth[None, None], where[None], align_corners=False)[0, 0]
        opacity = _OPACITY * ((heat - _FLOOR) / (1.0 - _FLOOR)).clamp(0, 1)
        colour = torch.tensor(to_rgb(COLOURS[number]))[:, None, None]
        picture = picture + opacity * (colour - picture)
    return (255 * picture).round().to(torch.uint8).permute(1, 2, 0).numpy()


def _where(view: FilmView, size: tuple[int, int]) -> Float[Tensor, "row column 2"]:
    """Where each of the pixels that cover a film lies in its field, (x, y) from -1 to 1."""
    row0, column0, row1, column1 = view.edges
    (rows, columns), (down, across) = view.image.shape, size
    y = ((torch.arange(down) + 0.5) / down * rows - row0) / (row1 - row0) * 2 - 1
    x = ((torch.arange(across) + 0.5) / across * columns - column0) / (column1 - column0) * 2 - 1
    return torch.stack([x.expand(down, -1), y[:, None].expand(-1, across)], dim=-1)


def _draw_pin(panel: "Axes", point: Point, number: int) -> None:
    """A ring around the point and its number beside it."""
    row, column = point
    for colour, width in (("black", 4.2), (COLOURS[number], 2.2)):
        panel.plot(
            column,
            row,
            "o",
            markersize=13,
            markerfacecolor="none",
            markeredgecolor=colour,
            markeredgewidth=width,
        )
    panel.plot(column, row, "o", markersize=2.6, color=COLOURS[number])
    _badge(panel, (row, column), number, (15, 0))


def _outline(
    panel: "Axes",
    view: FilmView,
    band: Float[Tensor, " patch"],
    smooth: Float[Tensor, "y x"],
    number: int,
    grid: tuple[int, int],
) -> None:
    """The band's outline at half its maximum, and its number at the film's edge."""
    row0, column0, row1, column1 = view.edges
    y = row0 - 0.5 + (torch.arange(len(smooth)) + 0.5) / len(smooth) * (row1 - row0)
    x = (
        column0
        - 0.5
        + (torch.arange(smooth.shape[1]) + 0.5) / smooth.shape[1] * (column1 - column0)
    )
    panel.contour(
        x.numpy(),
        y.numpy(),
        smooth.numpy(),
        levels=[0.5],
        colors=[COLOURS[number]],
        linewidths=1.3,
        zorder=3,
    )
    level = view.centre_of(0, grid)[0] + band_rows(band, grid)[0].item() * (row1 - row0) / grid[0]
    _badge(panel, (min(max(level, 0.0), view.image.shape[0] - 1.0), -0.5), number, (11, 0))


def _badge(panel: "Axes", point: Point, number: int, shift_points: tuple[int, int]) -> None:
    """The number on a disc of its colour, shifted from a pixel by some typographic points."""
    panel.annotate(
        str(number + 1),
        (point[1], point[0]),
        shift_points,
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=9,
        fontweight="bold",
        color="#10131a",
        zorder=5,
        bbox={
            "boxstyle": "circle,pad=0.22",
            "facecolor": COLOURS[number],
            "edgecolor": "black",
            "linewidth": 0.8,
        },
    )


def _write_png(figure: "Figure", path: Path) -> None:
    """Write the figure whole or not at all."""
    memory = io.BytesIO()
    # Hard compression saves a fifth of the bytes for most of the time.
    options = {"compress_level": 1}
    figure.savefig(
        memory, format="png", dpi=_DPI, facecolor=figure.get_facecolor(), pil_kwargs=options
    )
    with written_whole(path) as partial:
        partial.write_bytes(memory.getvalue())
