"""From line integrals to radiographs: Beer-Lambert, a little physics, and the display curve of a reading room."""

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crossray.errors import InputError
from crossray.geometry import Cameras
from crossray.projection import project
from crossray.projection.display import Display, sample_display
from crossray.projection.filters import blurred, stretch
from crossray.volumes.volume import Volume

Look = Literal["plain", "pacs"]
"""`plain`: the curve and unsharp mask of a reading room; `pacs`: all a picture archive does (`Display`)."""


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
        display: What a picture archive does to the signal, in place of `edge`, `gamma` and `contrast`.
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
    display: Display | None = None

    def __call__(self, lines: Float[Tensor, "row column"]) -> Float[Tensor, "row column"]:
        """A radiograph in [0, 1], bone bright, of line integrals of attenuation (dimensionless)."""
        signal = self.signal(lines)
        # Films are stretched where they are read, so a picture with a frame and letters is stretched once more.
        image = self._curve(signal) if self.display is None else stretch(self.display(signal))
        return 1 - image if self.inverted else image

    def signal(self, lines: Float[Tensor, "row column"]) -> Float[Tensor, "row column"]:
        """What the detector reads: minus the log of the relative intensity, with scatter, noise and blur."""
        intensity = torch.exp(-self.exposure * lines)
        if self.scatter > 0:
            intensity = intensity + self.scatter * blurred(intensity, 0.1)
        if self.photons > 0:
            noise = torch.randn(lines.shape, generator=torch.Generator().manual_seed(self.seed))
            intensity = intensity + noise * (intensity / self.photons).sqrt()
        signal = -intensity.clamp(min=1e-4).log()
        if self.blur > 0:
            signal = blurred(signal, self.blur / max(lines.shape))
        return signal

    def _curve(self, signal: Float[Tensor, "row column"]) -> Float[Tensor, "row column"]:
        signal = signal + self.edge * (signal - blurred(signal, self.edge_width / 100))
        image = stretch(signal) ** self.gamma
        if self.contrast > 0:
            half = 2 * self.contrast
            image = (torch.tanh(half * (image - 0.5)) / math.tanh(0.5 * half) + 1) / 2
            image = image.clamp(0, 1)  # rounding may leave it by 6e-8
        return image


def sample_appearance(
    rng: np.random.Generator, *, inverted: float = 0.0, look: Look = "plain"
) -> Appearance:
    """Draw an appearance for training.

    Args:
        rng: Source of randomness; a `pacs` look draws all that a plain one draws, and then its display.
        inverted: Share of images with bone dark.
        look: Which looks.

    Raises:
        InputError: An unknown look.
    """
    if look not in get_args(Look):
        raise InputError(f"Look {look!r} is unknown; choose one of {', '.join(get_args(Look))}.")
    noisy, soft = rng.random(2) < (0.6, 0.5)
    appearance = Appearance(
        exposure=float(rng.uniform(0.6, 1.3)),
        scatter=float(10 ** rng.uniform(-3, -0.7)),
        photons=float(10 ** rng.uniform(3, 5)) if noisy else 0.0,
        blur=float(rng.uniform(0.3, 1.2)) if soft else 0.0,
        edge=float(rng.uniform(0.0, 1.5)),
        edge_width=float(rng.uniform(1.0, 8.0)),
        gamma=float(np.exp(rng.uniform(-0.6, 0.6))),
        contrast=float(rng.uniform(0.0, 1.0)),
        inverted=bool(rng.random() < inverted),
        seed=int(rng.integers(2**31)),
    )
    if look == "plain":
        return appearance
    # A view's pixel is the mean of many of a detector's, and grids and processing take most of the scatter away.
    clean = replace(
        appearance, scatter=0.0, photons=30 * appearance.photons, blur=0.5 * appearance.blur
    )
    return replace(clean, display=sample_display(rng))


def render(
    volume: Volume,
    cameras: Cameras,
    seed: int | None = 0,
    kev: float = 60.0,
    look: Look | Literal["film"] = "plain",
) -> Float[Tensor, "view row column"]:
    """Radiographs of a CT, with an appearance drawn from the seed for each view.

    Args:
        volume: Hounsfield units.
        cameras: One or more views.
        seed: Draws the appearances; None gives every view the default one.
        kev: Photon energy in keV; `film` has a tube's spectrum instead.
        look: Which appearances the seed draws; `film` is a measured exposure (`physics.expose`) as an archive shows it.

    Returns:
        Display values in [0, 1], bone bright, float32.

    Raises:
        InputError: A negative seed, a source inside the volume, an energy out of range, an unknown look.
    """
    if seed is not None and seed < 0:
        raise InputError(f"seed={seed} is negative; give a whole number from 0 up.")
    rng, views = np.random.default_rng(seed), range(len(cameras))
    if look == "film":
        from crossray.projection.physics import Exposure, expose, sample_exposure

        # What blades leave dark an archive crops or blackens before it looks for a window: its shutter shows them.
        shots = [
            Exposure() if seed is None else replace(sample_exposure(rng), collimation=None)
            for _ in views
        ]
        lines = expose(volume, cameras, shots)
        displays = [Display() if seed is None else sample_display(rng) for _ in views]
        drawn = [Appearance(scatter=0.0, display=display) for display in displays]
    else:
        lines = project(volume.attenuation(kev), cameras)
        drawn = [Appearance() if seed is None else sample_appearance(rng, look=look) for _ in views]
    return torch.stack([one(view) for one, view in zip(drawn, lines, strict=True)])
