"""What looks share: the contrast every picture of ours has, and a blur."""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

DARKEST, BRIGHTEST = 0.01, 0.99
"""Quantiles of an image that become 0 and 1, in rendering and in matching films alike."""


def stretch(
    image: Float[Tensor, "row column"], within: Bool[Tensor, "row column"] | None = None
) -> Float[Tensor, "row column"]:
    """Map the 1 % and 99 % quantiles (of the pixels `within`) to 0 and 1 and clip; an image of one value becomes 0."""
    counted = image if within is None else image[within]
    values = np.partition(
        counted.numpy().ravel(),
        ranks := [round(q * (counted.numel() - 1)) for q in (DARKEST, BRIGHTEST)],
    )
    low, high = float(values[ranks[0]]), float(values[ranks[1]])
    if high <= low:
        low, high = float(image.min()), float(image.max())
    return ((image - low) / max(high - low, 1e-12)).clamp(0, 1)


def blurred(image: Float[Tensor, "row column"], width: float) -> Float[Tensor, "row column"]:
    """Gaussian blur with a standard deviation of `width` image sides; edges continue as they are.

    Two products of matrices: up to ten times faster than convolving, and never slower up to 1024 x 1024 pixels.
    """
    sigma = width * max(image.shape)
    radius = max(1, math.ceil(3 * sigma))
    offsets = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-0.5 * (offsets / max(sigma, 1e-6)) ** 2)
    kernel = kernel / kernel.sum()
    down, across = (_weights(kernel, offsets, side) for side in image.shape)
    return down @ image @ across.T


def _weights(
    kernel: Float[Tensor, " tap"], offsets: Int[Tensor, " tap"], side: int
) -> Float[Tensor, "side side"]:
    """What each place takes from each; a tap beyond the edge takes from the edge."""
    sources = (torch.arange(side)[:, None] + offsets).clamp(0, side - 1)
    return torch.zeros(side, side).scatter_add_(1, sources, kernel.expand(side, -1))
