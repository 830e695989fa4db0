"""What a picture archive keeps of a detector's signal: bands of detail, a curve, a frame and letters."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from crossray.projection.burnin import Mark, Shutter, sample_marks, sample_shutter
from crossray.projection.filters import blurred, stretch


@dataclass(frozen=True)
class Texture:
    """Fine structure no CT of whole millimetres holds: trabeculae, and the grain of screen and scanner.

    The signal is multiplied by 1 + `amount` times a random field of unit variance, so it grows with what is thick.

    Args:
        amount: Its strength; 0 for none.
        width: Standard deviation of the blur that makes it, pixels.
        seed: Of the field.
    """

    amount: float = 0.0
    width: float = 0.7
    seed: int = 0

    def __call__(self, signal: Float[Tensor, "row column"]) -> Float[Tensor, "row column"]:
        """The signal with its texture."""
        if self.amount <= 0:
            return signal
        noise = torch.randn(signal.shape, generator=torch.Generator().manual_seed(self.seed))
        field_ = blurred(noise, self.width / max(signal.shape))
        return signal * (1 + self.amount * field_ / field_.std(correction=0).clamp(min=1e-6))


@dataclass(frozen=True)
class Detail:
    """Multi-scale contrast amplification: gains for the bands of a Laplacian pyramid, less for what is left over.

    A band value x becomes gain * x * ((r^2 + e) / (1 + e))^((power - 1) / 2), where r is |x| over half the signal's
    standard deviation and e = 0.01: with a power below 1 faint detail gains more than strong edges.

    Args:
        gains: Of the bands, each an octave, from pixels up; as many as there are bands.
        latitude: Factor on what lies below all bands: small values show thick and thin parts equally bright.
        power: 1 amplifies linearly.

    Source: Vuylsteke and Schoeters, Multiscale image contrast amplification (MUSICA), Proc SPIE 2167 (1994) 551.
    """

    gains: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)
    latitude: float = 1.0
    power: float = 1.0

    def __call__(self, signal: Float[Tensor, "row column"]) -> Float[Tensor, "row column"]:
        """The signal with its detail amplified, in the signal's unit."""
        strong = 0.5 * signal.std(correction=0).clamp(min=1e-6)
        rest, bands = signal[None, None], []
        for _ in self.gains:
            rows, columns = rest.shape[2:]
            small = interpolate(
                rest, ((rows + 1) // 2, (columns + 1) // 2), mode="bilinear", antialias=True
            )
            bands.append(rest - _enlarged(small, rest))
            rest = small
        mean = rest.mean()
        out = mean + self.latitude * (rest - mean)
        for band, gain in zip(reversed(bands), reversed(self.gains), strict=True):
            if self.power != 1:
                band = band * (((band / strong) ** 2 + 0.01) / 1.01) ** ((self.power - 1) / 2)
            out = _enlarged(out, band) + gain * band
        return out[0, 0]


@dataclass(frozen=True)
class Curve:
    """The characteristic curve from a stretched signal to grey: a window, a bend, an S.

    Args:
        low: What becomes black.
        high: What becomes white.
        bend: A logarithm log(1 + bend x) / log(1 + bend): above 0 it lifts the dark, between -1 and 0 the bright
            opens up, 0 is straight.
        slope: Steepness of a sigmoid (DICOM PS3.3 C.11.2.1.3.1), 0 is straight.
        middle: Where it is steepest.
    """

    low: float = 0.0
    high: float = 1.0
    bend: float = 0.0
    slope: float = 0.0
    middle: float = 0.5

    def __call__(self, image: Float[Tensor, "row column"]) -> Float[Tensor, "row column"]:
        """Grey in [0, 1]; never falls as the signal rises."""
        image = ((image - self.low) / (self.high - self.low)).clamp(0, 1)
        if self.bend != 0:
            image = torch.log1p(self.bend * image) / math.log1p(self.bend)
        if self.slope > 0:
            black, white = (math.tanh(self.slope * (x - self.middle)) for x in (0, 1))
            image = (torch.tanh(self.slope * (image - self.middle)) - black) / (white - black)
        return image.clamp(0, 1)


@dataclass(frozen=True)
class Display:
    """The steps from a detector's signal to the picture in the archive, in their order; the defaults change nothing.

    Args:
        texture: Fine structure.
        detail: Multi-scale contrast.
        curve: Characteristic curve.
        shutter: Frame, or none.
        marks: Letters.
    """

    texture: Texture = field(default_factory=Texture)
    detail: Detail = field(default_factory=Detail)
    curve: Curve = field(default_factory=Curve)
    shutter: Shutter | None = None
    marks: tuple[Mark, ...] = ()

    def __call__(self, signal: Float[Tensor, "row column"]) -> Float[Tensor, "row column"]:
        """The picture in [0, 1], bone bright, of effective line integrals (minus the log of the relative signal)."""
        image = self.curve(stretch(self.detail(self.texture(signal))))
        if self.shutter is not None:
            image = self.shutter(image)
        for mark in self.marks:
            image = mark(image)
        return image


def sample_display(rng: np.random.Generator) -> Display:
    """Draw how an archive shows a picture, for training."""
    fine, coarse = rng.uniform(0.8, 2.5), rng.uniform(0.8, 1.8)
    gains = np.geomspace(fine, coarse, 5) * np.exp(rng.normal(0, 0.1, 5))
    low, high = rng.uniform(0, 0.08), rng.uniform(0.85, 1.1)
    return Display(
        texture=Texture(
            float(10 ** rng.uniform(-2.5, -1)),
            float(rng.uniform(0.4, 1.2)),
            int(rng.integers(2**31)),
        ),
        detail=Detail(
            tuple(gains.tolist()), float(rng.uniform(0.3, 1)), float(rng.uniform(0.7, 1))
        ),
        curve=Curve(
            float(low),
            float(high),
            float(np.expm1(rng.uniform(-1.2, 1.5))),
            float(rng.uniform(0, 2.5)),
            float(rng.uniform(0.35, 0.65)),
        ),
        shutter=sample_shutter(rng),
        marks=sample_marks(rng),
    )


def _enlarged(
    small: Float[Tensor, "1 1 small_row small_column"], like: Float[Tensor, "1 1 row column"]
) -> Float[Tensor, "1 1 row column"]:
    return interpolate(small, like.shape[2:], mode="bilinear")
