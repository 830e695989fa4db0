"""From a film of any size to the network's square field, and the frame that leads back to the film's pixels.

The film keeps its aspect: it is scaled to fit the field, lies in its middle, and what is left over beside it is filled
by its own edge, so that no black border stands where a limb runs out of the film.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from crossray.errors import InputError
from crossray.projection.appearance import stretch

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


def fit_film(
    pixels: Float[Tensor, "row column"], size: tuple[int, int], name: str = "radiograph"
) -> tuple[Float[Tensor, "field_row field_column"], Field]:
    """Scale a film into the network's field, aspect kept, contrast normalised.

    Args:
        pixels: The film (row, column), any scale of values, bone bright.
        size: Rows and columns of the network's native input.
        name: What to call the film in messages.

    Returns:
        The network's input in [0, 1] of shape `size`, and the field it covers in the film's pixels.

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
    inside = normalise(small, name)
    padded = functional.pad(inside[None, None], margins, mode="replicate")[0, 0]
    row_step, column_step = (
        rows / inner[0],
        columns / inner[1],
    )  # the film's pixels in one of the field's
    row0, column0 = -top * row_step, -left * column_step
    return padded, Field(row0, column0, row0 + size[0] * row_step, column0 + size[1] * column_step)


def normalise(
    pixels: Float[Tensor, "row column"], name: str = "radiograph"
) -> Float[Tensor, "row column"]:
    """Stretch the values as those of rendered images are: the 1 % and 99 % quantiles become 0 and 1.

    So a lead marker or a bare corner does not set the contrast, and an affine change of the grey values changes
    nothing: 8 bits, 16 bits and a DICOM window come out alike.

    Raises:
        InputError: NaN or infinity among the values, or a film of one single grey.
    """
    if not torch.isfinite(pixels).all():
        raise InputError(f"{name} holds NaN or infinite values; give finite grey values.")
    if pixels.min() == pixels.max():
        raise InputError(
            f"{name} is blank (every pixel has one value); give a radiograph with an image on it."
        )
    return stretch(pixels)


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
