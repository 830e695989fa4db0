"""What a reading rests on: where a classifier looked in each film, and which places of the films support each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from crossray.evaluation.figures import COLOURS, FilmView
from crossray.files import written_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PAPER, _INK, _FAINT, _HEAT = "#0b0e13", "#f2f4f8", "#98a2b3", "#ff8a1f"
_PANEL_INCHES = 4.6
_FLOOR, _OPACITY = 0.15, 0.6
"""Share of the most below which no heat is drawn, and its opacity at most."""
_NOTE = "Heat: what raises the probability most. Boxes of a number: places that support each other. For research only."


@dataclass(frozen=True)
class Link:
    """Two patches of different views that support each other.

    Args:
        view: The first view.
        token: Its token, row-major.
        other: The second view, after the first.
        other_token: Its token.
        strength: What the logit gains by their listening to each other, both ways, by unit of bias.
    """

    view: int
    token: int
    other: int
    other_token: int
    strength: float


def strongest_links(
    gain: Float[Tensor, "view token view token"], count: int = len(COLOURS)
) -> tuple[Link, ...]:
    """The pairs of patches of different views that gain the logit the most, no patch in two of them.

    Args:
        gain: What the logit gains by a bias on the attention of the first patch to the second.
        count: How many at most; pairs that gain nothing are none.
    """
    views, tokens = gain.shape[:2]
    both = gain + gain.permute(2, 3, 0, 1)
    later = torch.arange(views)[:, None] < torch.arange(views)[None, :]
    both = torch.where(later[:, None, :, None], both, 0.0)
    links: list[Link] = []
    while len(links) < count and both.max() > 0:
        best = int(both.argmax())
        first, second = divmod(best, views * tokens)
        (view, token), (other, other_token) = divmod(first, tokens), divmod(second, tokens)
        strength = both[view, token, other, other_token].item()
        links.append(Link(view, token, other, other_token, strength))
        for one, patch in ((view, token), (other, other_token)):
            both[one, patch] = 0.0
            both[:, :, one, patch] = 0.0
    return tuple(links)


def draw_evidence(
    views: Sequence[FilmView],
    looks: Float[Tensor, "view row column"],
    links: Sequence[Link],
    path: Path,
    title: str,
) -> None:
    """Draw each film under its heat, with the boxes of linked patches and a line between them, as PNG.

    Args:
        views: The films with the field the tokens cover.
        looks: By token, by how much it raises the logit; what lowers it is not drawn.
        links: At most as many as there are colours.
        path: PNG file to write, whole or not at all.
        title: Stands above the films.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(_PANEL_INCHES * len(views), _PANEL_INCHES + 0.9),
        facecolor=_PAPER,
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    figure.suptitle(title, color=_INK, fontsize=13)
    figure.supxlabel(_NOTE, color=_FAINT, fontsize=min(9.0, 4.5 * len(views)))
    panels = figure.subplots(1, len(views), squeeze=False)[0]
    most = looks.clamp(min=0).max().clamp(min=1e-12)
    for panel, view, look in zip(panels, views, looks, strict=True):
        _draw_film(panel, view, (look / most).clamp(min=0))
    grid = (looks.shape[1], looks.shape[2])
    for number, link in enumerate(links):
        ends = [(link.view, link.token), (link.other, link.other_token)]
        _draw_link(
            figure, [(panels[at], token_box(views[at], token, grid)) for at, token in ends], number
        )
    with written_whole(path) as partial:
        figure.savefig(partial, format="png", dpi=120, facecolor=_PAPER)


def _draw_film(panel: "Axes", view: FilmView, share: Float[Tensor, "row column"]) -> None:
    """The film, and over it the heat of each place as a share of the most."""
    from matplotlib.colors import to_rgb

    rows, columns = view.image.shape
    panel.imshow(
        view.image.float().numpy(), cmap="gray", vmin=0, vmax=1, extent=(0, columns, rows, 0)
    )
    smooth = functional.interpolate(share[None, None], scale_factor=12, mode="bicubic")[0, 0]
    heat = ((smooth - _FLOOR) / (1 - _FLOOR)).clamp(0, 1)
    colour = torch.tensor(to_rgb(_HEAT)).expand(*heat.shape, 3)
    row0, column0, row1, column1 = view.edges
    panel.imshow(
        torch.cat([colour, _OPACITY * heat[..., None]], -1).numpy(),
        extent=(column0, column1, row1, row0),
    )
    panel.set(xlim=(0, columns), ylim=(rows, 0), xticks=[], yticks=[])
    panel.set_title(view.name, color=_INK, fontsize=11)


def token_box(
    view: FilmView, token: int, grid: tuple[int, int]
) -> tuple[float, float, float, float]:
    """The edges of a token's patch in the film's pixels (row0, column0, row1, column1)."""
    row0, column0, row1, column1 = view.edges
    down, across = (row1 - row0) / grid[0], (column1 - column0) / grid[1]
    top, left = row0 + token // grid[1] * down, column0 + token % grid[1] * across
    return top, left, top + down, left + across


def _draw_link(
    figure: "Figure",
    ends: Sequence[tuple["Axes", tuple[float, float, float, float]]],
    number: int,
) -> None:
    """Two boxes of one colour and number, and a line between their middles."""
    from matplotlib.patches import ConnectionPatch, Rectangle

    colour, middles = COLOURS[number], []
    for panel, (top, left, bottom, right) in ends:
        outline = {"fill": False, "edgecolor": colour, "linewidth": 1.8}
        panel.add_patch(Rectangle((left, top), right - left, bottom - top, **outline))
        panel.annotate(
            str(number + 1), (left, top), (4, -4), textcoords="offset points", va="top", color=colour,
            fontsize=10, fontweight="bold",
            bbox={"boxstyle": "round,pad=0.15", "facecolor": _PAPER, "edgecolor": "none", "alpha": 0.8},
        )  # fmt: skip
        middles.append(((left + right) / 2, (top + bottom) / 2))
    (first, _), (second, _) = ends
    line = ConnectionPatch(
        middles[0], middles[1], "data", "data", axesA=first, axesB=second, color=colour, alpha=0.55
    )
    figure.add_artist(line)
