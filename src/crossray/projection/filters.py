"""What looks share: the contrast every picture of ours has, and a blur."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

DARKEST, BRIGHTEST = 0.01, 0.99
"""Quantiles of an image that become 0 and 1, in rendering and in matching films alike."""


def stretch(image: Float[Tensor, "row column"]) -> Float[Tensor, "row column"]:
    """Map the 1 % and 99 % quantiles to 0 and 1 and clip; an image of one single value becomes 0."""
    values = np.partition(
        image.numpy().ravel(),
        ranks := [round(q * (image.numel() - 1)) for q in (DARKEST, BRIGHTEST)],
    )
    low, high = float(values[ranks[0]]), float(values[ranks[1]])
    if high <= low:
        low, high = float(image.min()), float(image.max())
    return ((image - low) / max(high - low, 1e-12)).clamp(0, 1)


def blurred(image: Float[Tensor, "row column"], width: float) -> Float[Tensor, "row column"]:
    """Gaussian blur with a standard deviation of `width` image sides; edges continue as they are."""
    sigma = width * max(image.shape)
    radius = max(1, math.ceil(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / max(sigma, 1e-6)) ** 2)
    kernel = (kernel / kernel.sum())[None, None]
    out = image
    for _ in range(2):
        padded = torch.nn.functional.pad(out[:, None], (radius, radius), mode="replicate")
        out = torch.nn.functional.conv1d(padded, kernel)[:, 0].T
    return out.contiguous()
