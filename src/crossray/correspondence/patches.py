"""What weighs a voxel in the truth, and how an image divides into patches."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from crossray.errors import InputError

POSITIVE_ABOVE = 0.2
"""Pairs of patches, or of pixels, whose C lies above it match."""


@dataclass(frozen=True)
class TissueWeight:
    """Logistic weight of a voxel by its Hounsfield units; air weighs nothing.

    w = 1 / (1 + exp(-slope * (hu - midpoint))), and 0 below `air_hu`.

    Args:
        midpoint_hu: Where the weight is 1/2.
        slope_per_hu: Steepness.
        air_hu: Below it the weight is 0.

    Example:
        >>> TissueWeight()(torch.tensor([-1000.0, -150.0, 1250.0])).tolist()
        [0.0, 0.5, 0.9990890026092529]
    """

    midpoint_hu: float = -150.0
    slope_per_hu: float = 0.005
    air_hu: float = -500.0

    def __call__(self, hu: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Weights in [0, 1], float32."""
        logit = (hu - self.midpoint_hu).mul_(self.slope_per_hu)
        return logit.masked_fill_(hu < self.air_hu, -torch.inf).sigmoid_()

    def logistic(self) -> tuple[float, float, float]:
        """Midpoint, slope, and the lowest HU that weighs anything."""
        return self.midpoint_hu, self.slope_per_hu, self.air_hu


BONE_WEIGHT = TissueWeight(midpoint_hu=250.0, slope_per_hu=0.02, air_hu=0.0)
"""The weight of bone alone: 1/2 at 250 HU, 0.01 at 20 HU (muscle weighs about 0.02) and 0 below 0 HU (fat)."""


def patch_grid(size: tuple[int, int], patch: int) -> tuple[int, int]:
    """Rows and columns of the patch grid of an image.

    Raises:
        InputError: A patch that does not divide the image.
    """
    if patch < 1 or size[0] % patch or size[1] % patch:
        raise InputError(
            f"patch={patch} does not divide images of {size[0]} x {size[1]} pixels; choose a common divisor."
        )
    return size[0] // patch, size[1] // patch
