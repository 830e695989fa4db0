"""Why a patch matches nothing in another view."""

from enum import IntEnum

import torch
from jaxtyping import Float, Int8
from torch import Tensor

from crossray.correspondence.patches import POSITIVE_ABOVE
from crossray.errors import InputError


class Visibility(IntEnum):
    """What becomes of a patch of one view in another."""

    SEEN = 0
    """It matches there."""
    OUTSIDE = 1
    """What it shows lies beside the other detector."""
    AIR = 2
    """It shows no tissue."""


def visibility(
    matrix: Float[Tensor, "view view patch patch"], above: float = POSITIVE_ABOVE
) -> Int8[Tensor, "view view patch"]:
    """Whether each patch of each view matches anything in each other view, and if not, why.

    A patch P of view k shows tissue if it matches a patch of its own view, itself or a neighbour. A voxel v of that
    tissue weighs w_v * n_k^v[P] above the bound; where its footprint peaks on l's detector, n_l^v is 1 and P matches
    there. So if P matches nothing in view l, all that it shows peaks beside l's detector: it lies outside.

    Args:
        matrix: True correspondence of normalised footprints, the blocks of each view with itself included.
        above: Patches match where their entry lies above it. At 0 a patch is air only if nothing that weighs touches
            it, and outside only if nothing it shows touches the other detector.

    Returns:
        `Visibility` of the first view's patches in the second view, int8.

    Raises:
        InputError: A matrix whose blocks of views with themselves were left out.

    Example:
        Three views of one patch each: the first two show a bead, which lies beside the third.

        >>> matrix = torch.zeros(3, 3, 1, 1)
        >>> matrix[:2, :2] = 1.0
        >>> visibility(matrix)[..., 0].tolist()
        [[0, 0, 1], [0, 0, 1], [2, 2, 2]]
    """
    matches = (matrix > above).any(-1)
    views = torch.arange(len(matrix))
    shows = matches[views, views]
    if (matches.any((1, 2)) & (matrix[views, views] == 0).all((1, 2))).any():
        raise InputError(
            "The matrix lacks the blocks of views with themselves; compute it with itself=True."
        )
    reason = torch.where(shows, Visibility.OUTSIDE, Visibility.AIR)[:, None]
    return torch.where(matches, Visibility.SEEN, reason).to(torch.int8)
