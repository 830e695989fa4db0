"""What a correspondence matrix alone tells about how two views lie to each other.

Seen from far, all matching patches obey one linear equation: what lies at one level of the first view lies at one
level of the second (Shapiro, Zisserman and Brady, "3D motion recovery via affine epipolar geometry", IJCV 16, 1995). So
the matrix, taken as a joint distribution of two positions, has one pair of directions along which they agree: its first
pair of canonical variables (Hotelling 1936). Within a level they agree the better the nearer the two beams: a cylinder
seen from two directions phi apart correlates as cos(phi).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from crossray.errors import InputError

_SHARPENING = 3
"""Power to which a matrix is raised: faint values, right or wrong, are many and would drown the clear ones."""
_FLAT = 1e-9
"""Least variance, in patches squared, along an axis over which positions can be compared."""


@dataclass(frozen=True)
class LevelAgreement:
    """How the levels of two views lie, from their correspondence.

    Args:
        first_deg: Angle in the first view from its row axis (downwards) to the direction across levels, towards its
            columns (to the right), in (-90, 90].
        second_deg: The same in the second view.
        along: Correlation of the two positions across levels, in [0, 1]: 1 where every patch names one level only.
        within: Correlation of the two positions along a level, signed: near 1 for views alike, 0 for beams at right
            angles, near -1 for beams head on.
    """

    first_deg: float
    second_deg: float
    along: float
    within: float

    @property
    def roll_deg(self) -> float:
        """Roll of the second view less that of the first, as `Cameras.from_angles` counts it, in (-90, 90]."""
        return half_turn(self.first_deg - self.second_deg)


def level_agreement(
    matrix: Float[Tensor, "patch other_patch"], grid: tuple[int, int]
) -> LevelAgreement:
    """Compare the positions that match, across levels and along them.

    Args:
        matrix: Correspondence of two views in [0, 1], predicted or true.
        grid: Rows and columns of the patch grid of either view; patches are square.

    Raises:
        InputError: A matrix of another grid, or one whose matches lie on a single line of either view.
    """
    rows, columns = grid
    if matrix.shape != (rows * columns, rows * columns):
        raise InputError(
            f"The matrix has shape {tuple(matrix.shape)}; give one of a {rows} x {columns} grid with itself."
        )
    joint = matrix.double().clamp(min=0) ** _SHARPENING
    total = joint.sum()
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    place = torch.stack([row.flatten(), column.flatten()], -1).double()
    first, second = (place - (weight @ place) / total for weight in (joint.sum(1), joint.sum(0)))
    whiten = [
        _inverse_root((x * weight[:, None]).T @ x / total)
        for x, weight in ((first, joint.sum(1)), (second, joint.sum(0)))
    ]
    left, correlations, right = torch.linalg.svd(
        whiten[0] @ (first.T @ joint @ second / total) @ whiten[1]
    )
    mirrored = torch.linalg.det(left) * torch.linalg.det(right)
    across = whiten[0] @ left[:, 0], whiten[1] @ right[0]
    return LevelAgreement(
        *(half_turn(torch.rad2deg(torch.atan2(a[1], a[0])).item()) for a in across),
        along=correlations[0].item(),
        within=(correlations[1] * mirrored).item(),
    )


def _inverse_root(covariance: Float[Tensor, "2 2"]) -> Float[Tensor, "2 2"]:
    values, vectors = torch.linalg.eigh(covariance)
    if not values[0] > _FLAT:
        raise InputError(
            "The matches of two views lie on one line or nowhere, which tells no levels; give views that match."
        )
    return vectors @ values.rsqrt().diag() @ vectors.T


def half_turn(degrees: float) -> float:
    """The angle of an undirected line, in (-90, 90]."""
    return 90.0 - (90.0 - degrees) % 180.0
