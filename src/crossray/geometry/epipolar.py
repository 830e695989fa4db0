"""What one pixel says about the other views: its epipolar line."""

import torch
from jaxtyping import Float
from torch import Tensor

from crossray.errors import InputError
from crossray.geometry.camera import Cameras


def fundamental_matrix(cameras: Cameras, view: int, other: int) -> Float[Tensor, "3 3"]:
    """The matrix F with (row', column', 1) F (row, column, 1) = 0 for all pairs of pixels whose rays meet.

    Args:
        cameras: At least the two views.
        view: The view of (row, column).
        other: The view of (row', column').

    Source: Hartley and Zisserman, Multiple View Geometry, 2nd ed., eq. 9.1 (F = [e']_x P' P^+), here with
    P^+ = the directions of the view's rays, taken from its four vectors.
    """
    matrices = cameras.projection_matrices()
    rays = torch.stack(
        [
            cameras.row_step[view],
            cameras.column_step[view],
            cameras.first_pixel[view] - cameras.source[view],
        ],
        -1,
    )
    source = torch.cat([cameras.source[view], torch.ones(1, dtype=torch.float64)])
    epipole = matrices[other] @ source
    return torch.linalg.cross(epipole[:, None].expand(3, 3), matrices[other][:, :3] @ rays, dim=0)


def epipolar_line(
    cameras: Cameras, view: int, point: tuple[float, float], other: int
) -> Float[Tensor, " 3"]:
    """The line (a, b, c), a * row + b * column + c = 0 with a^2 + b^2 = 1, on which a pixel's ray lies in another view.

    Args:
        cameras: At least the two views.
        view: The view of the pixel.
        point: Its (row, column).
        other: The view to draw the line in.

    Raises:
        InputError: Two views from one source, or a view and itself.
    """
    if torch.linalg.norm(cameras.source[view] - cameras.source[other]) < 1e-6:
        raise InputError(
            f"Views {view} and {other} have one source, so a pixel has no line there; choose views from two positions."
        )
    line = fundamental_matrix(cameras, view, other) @ torch.tensor(
        [*point, 1.0], dtype=torch.float64
    )
    return line / torch.linalg.norm(line[:2])
