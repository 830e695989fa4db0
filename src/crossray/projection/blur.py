"""Blurs that never ring, never turn a signal negative, and give the same bytes with any number of threads."""

import numpy as np
from jaxtyping import Float

Image = Float[np.ndarray, "row column"]
"""A signal on the detector, float32."""
Taps = Float[np.ndarray, " _"]
"""An odd number of symmetric weights that sum to 1."""


def box_taps(width: float) -> Taps:
    """A box of `width` samples whose variance, width^2 / 12, is exact: whole samples and two lighter ends."""
    variance = width**2 / 12
    radius = int((np.sqrt(width**2 + 1) - 1) / 2)
    inner = np.arange(-radius, radius + 1)
    end = (variance * len(inner) - np.sum(inner**2)) / (2 * ((radius + 1) ** 2 - variance))
    taps = np.r_[end, np.ones(len(inner)), end]
    return taps / taps.sum()


def gaussian_taps(sigma: float) -> Taps:
    """A sampled Gaussian, cut at three standard deviations."""
    radius = max(1, int(np.ceil(3 * sigma)))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return taps / taps.sum()


def exponential_taps(transfer: float, frequency: float) -> Taps:
    """Two-sided exponential, the line spread of a Lorentzian transfer function 1 / (1 + (f / f0)^2).

    The taps a^|k| have the transfer (1 - a)^2 / (1 - 2 a cos(2 pi f) + a^2), which follows a Lorentzian at low
    frequencies. It is `transfer` at `frequency`; where samples are too coarse for that frequency, it is the Lorentzian
    through that point at a quarter cycle per sample.

    Args:
        transfer: Above 0, below 1.
        frequency: Cycles per sample.
    """
    lower = min(frequency, 0.25)
    wanted = 1 / (1 + (1 / transfer - 1) * (lower / frequency) ** 2)
    half = (1 - wanted * np.cos(2 * np.pi * lower)) / (1 - wanted)
    ratio = half - np.sqrt(half**2 - 1)
    radius = max(1, int(np.ceil(np.log(1e-4) / np.log(ratio))))
    taps = ratio ** np.abs(np.arange(-radius, radius + 1))
    return taps / taps.sum()


def filtered(image: Image, rows: Taps, columns: Taps) -> Image:
    """Separable convolution down the rows and along the columns; edges continue as they are."""
    for taps in (rows, columns):
        middle = len(taps) // 2
        padded = np.pad(image, ((middle, middle), (0, 0)), mode="edge")
        weights = taps.astype(np.float32)
        out = weights[middle] * image
        for k in range(middle):
            pair = padded[k : k + len(image)] + padded[2 * middle - k :][: len(image)]
            out += weights[k] * pair
        image = np.ascontiguousarray(out.T)
    return image


def broad_gaussian(image: Image, sigma_rows: float, sigma_columns: float) -> Image:
    """Gaussian blur many pixels wide, on block means three to a standard deviation; edges continue as they are."""
    blocks = tuple(max(1, int(sigma / 3)) for sigma in (sigma_rows, sigma_columns))
    pad = [(0, -n % block) for n, block in zip(image.shape, blocks, strict=True)]
    padded = np.pad(image, pad, mode="edge")
    shape = (padded.shape[0] // blocks[0], blocks[0], padded.shape[1] // blocks[1], blocks[1])
    coarse = padded.reshape(shape).mean(3).mean(1)
    taps = gaussian_taps(sigma_rows / blocks[0]), gaussian_taps(sigma_columns / blocks[1])
    out = filtered(coarse, *taps)
    for n, block in zip(image.shape, blocks, strict=True):
        at = np.clip((np.arange(n, dtype=np.float32) + 0.5) / block - 0.5, 0, len(out) - 1)
        lower = np.minimum(at.astype(int), max(len(out) - 2, 0))
        share = (at - lower)[:, None]
        upper = np.minimum(lower + 1, len(out) - 1)
        out = ((1 - share) * out[lower] + share * out[upper]).T
    return np.ascontiguousarray(out, dtype=np.float32)
