"""From line integrals to radiographs: Beer-Lambert, a little physics, and the display curve of a reading room."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crossray.errors import InputError
from crossray.geometry import Cameras
from crossray.projection import project
from crossray.volumes.volume import Volume

DARKEST, BRIGHTEST = 0.01, 0.99
"""Quantiles of an image that become 0 and 1, in rendering and in matching films alike."""


@dataclass(frozen=True)
class Appearance:
    """How line integrals become a display image; the defaults are a plain radiograph.

    Args:
        exposure: Factor on the line integrals: harder beams see less contrast.
        scatter: Scattered over direct radiation in air; it flattens what is thick.
        photons: Quanta per pixel in air; noise grows as they get few. 0 for none.
        blur: Standard deviation of focal spot and detector, pixels.
        edge: Strength of the unsharp mask that display stations apply.
        edge_width: Its standard deviation, in hundredths of the image's side.
        gamma: Exponent of the display curve.
        contrast: Steepness of its S-shape; 0 leaves it straight.
        inverted: Show bone dark.
        seed: Of the noise.
    """

    exposure: float = 1.0
    scatter: float = 0.02
    photons: float = 0.0
    blur: float = 0.0
    edge: float = 0.3
    edge_width: float = 3.0
    gamma: float = 1.0
    contrast: float = 0.5
    inverted: bool = False
    seed: int = 0

    def __call__(self, lines: Float[Tensor, "row column"]) -> Float[Tensor, "row column"]:
        """A radiograph in [0, 1], bone bright, of line integrals of attenuation (dimensionless)."""
        direct = torch.exp(-self.exposure * lines)
        intensity = direct + self.scatter * _blurred(direct, 0.1)
        if self.photons > 0:
            noise = torch.randn(lines.shape, generator=torch.Generator().manual_seed(self.seed))
            intensity = intensity + noise * (intensity / self.photons).sqrt()
        signal = -intensity.clamp(min=1e-4).log()
        if self.blur > 0:
            signal = _blurred(signal, self.blur / max(lines.shape))
        signal = signal + self.edge * (signal - _blurred(signal, self.edge_width / 100))
        image = stretch(signal) ** self.gamma
        if self.contrast > 0:
            half = 2 * self.contrast
            image = (torch.tanh(half * (image - 0.5)) / math.tanh(0.5 * half) + 1) / 2
            image = image.clamp(0, 1)  # rounding may leave it by 6e-8
        return 1 - image if self.inverted else image


def sample_appearance(rng: np.random.Generator, *, inverted: float = 0.0) -> Appearance:
    """Draw an appearance for training; `inverted` is the share of images with bone dark."""
    noisy, blurred = rng.random(2) < (0.6, 0.5)
    return Appearance(
        exposure=float(rng.uniform(0.6, 1.3)),
        scatter=float(10 ** rng.uniform(-3, -0.7)),
        photons=float(10 ** rng.uniform(3, 5)) if noisy else 0.0,
        blur=float(rng.uniform(0.3, 1.2)) if blurred else 0.0,
        edge=float(rng.uniform(0.0, 1.5)),
        edge_width=float(rng.uniform(1.0, 8.0)),
        gamma=float(np.exp(rng.uniform(-0.6, 0.6))),
        contrast=float(rng.uniform(0.0, 1.0)),
        inverted=bool(rng.random() < inverted),
        seed=int(rng.integers(2**31)),
    )


def render(
    volume: Volume, cameras: Cameras, seed: int | None = 0, kev: float = 60.0
) -> Float[Tensor, "view row column"]:
    """Radiographs of a CT: attenuation, line integrals, and an appearance drawn from the seed for each view.

    Args:
        volume: Hounsfield units.
        cameras: One or more views.
        seed: Draws the appearances; None gives every view the plain one.
        kev: Photon energy in keV.

    Returns:
        Display values in [0, 1], bone bright, float32.

    Raises:
        InputError: A negative seed, a source inside the volume, an energy out of range.
    """
    if seed is not None and seed < 0:
        raise InputError(f"seed={seed} is negative; give a whole number from 0 up.")
    lines = project(volume.attenuation(kev), cameras)
    rng = np.random.default_rng(seed)
    looks = [Appearance() if seed is None else sample_appearance(rng) for _ in range(len(cameras))]
    return torch.stack([look(view) for look, view in zip(looks, lines, strict=True)])


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


def _blurred(image: Float[Tensor, "row column"], width: float) -> Float[Tensor, "row column"]:
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
