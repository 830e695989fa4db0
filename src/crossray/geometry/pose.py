"""Rigid motions of patients and cameras."""

import torch
from jaxtyping import Float
from torch import Tensor


def rigid_motion(
    rotation: Float[Tensor, " 3"], translation_mm: Float[Tensor, " 3"], center: Float[Tensor, " 3"]
) -> Float[Tensor, "4 4"]:
    """A turn about a centre, then a shift: x -> R (x - center) + center + translation.

    Args:
        rotation: Vector along the axis, its length the angle in degrees, right-handed; world frame. Differentiable,
            also at 0.
        translation_mm: World frame. Differentiable.
        center: World position in mm that the turn leaves where it is.

    Returns:
        Matrix that maps world (x, y, z, 1) before the motion to after it, float64.

    Example:
        >>> quarter = rigid_motion(*torch.tensor([[0, 0, 90], [5, 0, 0], [1, 0, 0]]).double())
        >>> moved = quarter @ torch.tensor([2.0, 0, 0, 1]).double()  # one left of the centre, now one behind it
        >>> moved.round(decimals=9)
        tensor([6., 1., 0., 1.], dtype=torch.float64)
    """
    x, y, z = torch.deg2rad(rotation.double())
    center, translation_mm = center.double(), translation_mm.double()
    zero = torch.zeros_like(x)
    turn = torch.linalg.matrix_exp(torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).view(3, 3))
    shift = center + translation_mm - turn @ center
    last = torch.tensor([[0.0, 0.0, 0.0, 1.0]], dtype=torch.float64)
    return torch.cat([torch.cat([turn, shift[:, None]], 1), last])
