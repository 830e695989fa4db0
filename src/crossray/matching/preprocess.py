"""From a film of any size to the network's square field, and the frame that leads back to the film's pixels.

The film keeps its aspect: it is scaled to fit the field, lies in its middle, and what is left over beside it is filled
by its own edge, so that no black border stands where a limb runs out of the film. Where a film is bare (shutters, black
wedges, air that is clipped) nothing is looked for; bright shutters do not set the contrast. Lead markers stay: they are
too few pixels to set it, and cannot be told from metal in the limb.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from crossray.errors import InputError
from crossray.projection.appearance import stretch

BARE_WITHIN = 0.01
"""Share of the range of grey by which what is bare may differ from the darkest or brightest."""
BARE_FROM = 0.01
"""Share of the film from which a bare part counts."""
MIN_SIDE = 32
"""Films smaller than this many pixels along a side hold nothing that could be matched."""


class Field(NamedTuple):
    """The network's whole field in the film's pixels; it may reach beyond the film.

    Edges are counted from the film's top left corner: the pixel (r, c) fills [r, r + 1) x [c, c + 1).
    """

    row0: float
    column0: float
    row1: float
    column1: float


class Fitted(NamedTuple):
    """A film as the network takes it.

    Args:
        image: In [0, 1].
        field: What the image covers in the film's pixels.
        seen: False beside the film and where the film is bare.
    """

    image: Float[Tensor, "field_row field_column"]
    field: Field
    seen: Bool[Tensor, "field_row field_column"]

    def seen_patches(self, grid: tuple[int, int]) -> Bool[Tensor, " patch"]:
        """Which of rows x columns patches, row-major, show anything."""
        rows, columns = (side // n for side, n in zip(self.seen.shape, grid, strict=True))
        return self.seen.unflatten(1, (-1, columns)).unflatten(0, (-1, rows)).amax((1, 3)).flatten()


def fit_film(
    pixels: Float[Tensor, "row column"], size: tuple[int, int], name: str = "radiograph"
) -> Fitted:
    """Scale a film into the network's field, aspect kept, contrast normalised.

    Args:
        pixels: The film (row, column), any scale of values, bone bright.
        size: Rows and columns of the network's native input.
        name: What to call the film in messages.

    Returns:
        The network's input of shape `size`, the field it covers, and where there is something to be seen.

    Raises:
        InputError: A film with fewer than 32 pixels along a side, with NaN or infinity, or of one single grey.
    """
    rows, columns = pixels.shape
    if min(rows, columns) < MIN_SIDE:
        raise InputError(
            f"{name} is {rows} x {columns} pixels; a radiograph needs {MIN_SIDE} or more along each side."
        )
    scale = min(size[0] / rows, size[1] / columns)
    inner = (max(1, round(rows * scale)), max(1, round(columns * scale)))
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    film = pixels.to(torch.float32)[None, None]
    small = functional.interpolate(film, size=inner, mode="bilinear", antialias=True)[0, 0]
    margins = (left, size[1] - inner[1] - left, top, size[0] - inner[0] - top)
    dark, bright = bare(small)
    inside = normalise(small, name, within=~bright)
    padded = functional.pad(inside[None, None], margins, mode="replicate")[0, 0]
    seen = functional.pad(~(dark | bright), margins)
    row_step, column_step = (
        rows / inner[0],
        columns / inner[1],
    )  # the film's pixels in one of the field's
    row0, column0 = -top * row_step, -left * column_step
    field = Field(row0, column0, row0 + size[0] * row_step, column0 + size[1] * column_step)
    return Fitted(padded, field, seen)


def bare(
    pixels: Float[Tensor, "row column"],
) -> tuple[Bool[Tensor, "row column"], Bool[Tensor, "row column"]]:
    """Where a film is bare, dark and bright: parts of its least or greatest value, within 1 % of the range, at an edge.

    Parts smaller than 1 % of the film do not count, and a film that were bare all over is bare nowhere.
    """
    low, high = pixels.min(), pixels.max()
    margin = BARE_WITHIN * (high - low)
    dark, bright = (
        _from_the_edge(flat) for flat in (pixels <= low + margin, pixels >= high - margin)
    )
    somewhere = ~(dark | bright).all()
    return dark & somewhere, bright & somewhere


def _from_the_edge(flat: Bool[Tensor, "row column"]) -> Bool[Tensor, "row column"]:
    """The connected parts that reach an edge and are not small."""
    parts = np.empty(flat.shape, np.int32)
    ndimage.label(flat.numpy(force=True), output=parts)
    edges = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    large = np.bincount(parts.ravel())[edges] >= BARE_FROM * parts.size
    return torch.from_numpy(np.isin(parts, edges[large & (edges > 0)]))


def normalise(
    pixels: Float[Tensor, "row column"],
    name: str = "radiograph",
    within: Bool[Tensor, "row column"] | None = None,
) -> Float[Tensor, "row column"]:
    """Stretch the values as those of rendered images are: the 1 % and 99 % quantiles become 0 and 1.

    So a lead marker or a bare corner does not set the contrast, and an affine change of the grey values changes
    nothing: 8 bits, 16 bits and a DICOM window come out alike.

    Args:
        pixels: The film.
        name: What to call it in messages.
        within: Where the quantiles are taken; everywhere, if None.

    Raises:
        InputError: NaN or infinity among the values, or a film of one single grey.
    """
    if not torch.isfinite(pixels).all():
        raise InputError(f"{name} holds NaN or infinite values; give finite grey values.")
    if pixels.min() == pixels.max():
        raise InputError(
            f"{name} is blank (every pixel has one value); give a radiograph with an image on it."
        )
    return stretch(pixels, within)


def for_display(
    pixels: Float[Tensor, "row column"], longest: int
) -> Float[Tensor, "small_row small_column"]:
    """A film in [0, 1], its darkest pixel at 0 and its brightest at 1, with at most `longest` pixels along a side."""
    scale = min(1.0, longest / max(pixels.shape))
    size = [max(1, round(side * scale)) for side in pixels.shape]
    film = pixels.to(torch.float32)[None, None]
    small = functional.interpolate(film, size=size, mode="bilinear", antialias=True)[0, 0]
    low, high = small.min(), small.max()
    return (small - low) / (high - low).clamp(min=1e-12)
