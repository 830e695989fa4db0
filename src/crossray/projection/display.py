"""What a picture archive keeps of a detector's signal: bands of detail, a curve, a frame and letters."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, conv2d, interpolate, max_pool2d

from crossray.projection.burnin import Mark, Shutter, sample_marks, sample_shutter
from crossray.projection.filters import stretch

_BONE_WIDTH = 0.2
"""What is brighter than its surroundings and narrower than this share of the side is taken for bone by `Texture`."""


@dataclass(frozen=True)
class Texture:
    """Fine structure no CT of whole millimetres holds: trabeculae, and a little grain everywhere.

    A random field of unit variance, drawn out along one direction as trabeculae are, is added: `trabeculae` times what
    bone adds to the signal, and `grain` times the signal's standard deviation everywhere.

    Args:
        trabeculae: Strength in bone, as a share of what bone adds to the signal; 0 for none.
        grain: Strength everywhere, as a share of the signal's standard deviation; 0 for none.
        width: Standard deviation of its blur across, pixels.
        length: Standard deviation of its blur along, pixels.
        turn: Its direction off the columns, degrees.
        seed: Of the field.
    """

    trabeculae: float = 0.0
    grain: float = 0.0
    width: float = 0.6
    length: float = 1.2
    turn: float = 0.0
    seed: int = 0

    def __call__(self, signal: Float[Tensor, "row column"]) -> Float[Tensor, "row column"]:
        """The signal with its texture."""
        if self.trabeculae <= 0 and self.grain <= 0:
            return signal
        strength = self.trabeculae * _ridges(signal) + self.grain * signal.std(correction=0)
        return signal + strength * self._field(signal.shape)

    def _field(self, shape: torch.Size) -> Float[Tensor, "row column"]:
        reach = math.ceil(2.5 * max(self.width, self.length))
        place = torch.arange(-reach, reach + 1, dtype=torch.float32)
        cos, sin = math.cos(math.radians(self.turn)), math.sin(math.radians(self.turn))
        along = cos * place[:, None] + sin * place
        across = cos * place - sin * place[:, None]
        kernel = torch.exp(-0.5 * ((along / self.length) ** 2 + (across / self.width) ** 2))
        kernel /= kernel.norm()  # so that white noise keeps its variance
        noise = torch.randn(
            (1, 1, shape[0] + 2 * reach, shape[1] + 2 * reach),
            generator=torch.Generator().manual_seed(self.seed),
        )
        return conv2d(noise, kernel[None, None])[0, 0]


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

    gains: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
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
        if abs(self.bend) > 1e-4:  # below, both are 0 to rounding
            image = torch.log1p(self.bend * image) / math.log1p(self.bend)
        if self.slope > 1e-4:
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
    fine, middle, coarse = (rng.uniform(*span) for span in ((1.0, 6.0), (1.0, 3.5), (0.9, 1.8)))
    gains = np.interp(range(6), (0, 2, 5), (fine, middle, coarse))
    low, high = rng.uniform(0, 0.12), rng.uniform(0.9, 1.2)
    width = rng.uniform(0.3, 0.6)
    return Display(
        texture=Texture(
            trabeculae=float(rng.uniform(0, 0.1)),
            grain=float(10 ** rng.uniform(-3.1, -1.8)),
            width=float(width),
            length=float(width * rng.uniform(1, 3)),
            turn=float(rng.normal(0, 20)),
            seed=int(rng.integers(2**31)),
        ),
        detail=Detail(
            gains=tuple(gains.tolist()),
            latitude=float(rng.uniform(0.1, 0.7)),
            power=float(rng.uniform(0.75, 1)),
        ),
        curve=Curve(
            float(low),
            float(high),
            float(np.expm1(rng.uniform(-2, 0.8))),
            float(rng.uniform(0, 2.5)),
            float(rng.uniform(0.35, 0.65)),
        ),
        shutter=sample_shutter(rng),
        marks=sample_marks(rng),
    )


def _ridges(signal: Float[Tensor, "row column"]) -> Float[Tensor, "row column"]:
    """How far the signal stands above its grey-level opening (erosion, then dilation) on an eighth of the grid."""
    whole = signal[None, None]
    small = adaptive_avg_pool2d(whole, (-(-signal.shape[0] // 8), -(-signal.shape[1] // 8)))
    reach = round(_BONE_WIDTH * max(small.shape) / 2)
    lowest = -max_pool2d(-small, 2 * reach + 1, 1, reach)
    opened = max_pool2d(lowest, 2 * reach + 1, 1, reach)
    return (whole - _enlarged(opened, whole))[0, 0].clamp(min=0)


def _enlarged(
    small: Float[Tensor, "1 1 small_row small_column"], like: Float[Tensor, "1 1 row column"]
) -> Float[Tensor, "1 1 row column"]:
    return interpolate(small, like.shape[2:], mode="bilinear")
