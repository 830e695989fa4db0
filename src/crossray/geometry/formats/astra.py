"""ASTRA's `cone_vec`."""

import torch
from jaxtyping import Float
from torch import Tensor

from crossray.errors import InputError
from crossray.geometry.camera import Cameras


def to_astra(cameras: Cameras) -> Float[Tensor, "view 12"]:
    """Rows of ASTRA's `cone_vec`: source, middle of the detector, step to the next column, step to the next row."""
    rows, columns = cameras.size
    middle = (
        cameras.first_pixel
        + (rows - 1) / 2 * cameras.row_step
        + (columns - 1) / 2 * cameras.column_step
    )
    return torch.cat([cameras.source, middle, cameras.column_step, cameras.row_step], 1)


def from_astra(vectors: Float[Tensor, "view number"], size: tuple[int, int]) -> Cameras:
    """Cameras of ASTRA's `cone_vec`.

    Args:
        vectors: One row a view.
        size: Detector rows and columns.

    Raises:
        InputError: Not twelve numbers a view, or no camera.
    """
    vectors = torch.atleast_2d(torch.as_tensor(vectors, dtype=torch.float64))
    if vectors.shape[-1] != 12:
        raise InputError(
            f"ASTRA's cone_vec holds 12 numbers a view, not {vectors.shape[-1]}; give its Vectors."
        )
    source, middle, column_step, row_step = vectors.split(3, dim=1)
    first = middle - (size[0] - 1) / 2 * row_step - (size[1] - 1) / 2 * column_step
    return Cameras(source, first, column_step, row_step, size)
