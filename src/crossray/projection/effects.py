"""What a tube, a limb and a detector do to a beam: each a frozen set of parameters that can be drawn, then applied.

Signals are float32 images relative to the open beam on its axis. All of it runs on numpy without threads, so that the
same parameters give the same bytes whatever the number of cores.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from crossray.projection.blur import Image, box_taps, broad_gaussian, exponential_taps, filtered
from crossray.projection.spectrum import Beam, Bins, attenuation, energies

COLLIMATOR_MM = 300.0
"""Distance from the focus to the collimator's blades; it sets the penumbra."""

_ANODE_DEPTH = 0.02
"""Depth at which photons arise in the anode, in mean free paths; fitted to SpekPy's beams of 50 to 80 kVp."""


class Setup(NamedTuple):
    """What of a view's geometry blur, noise and shading depend on.

    Args:
        pixel_mm: Pitch down the rows and along the columns, at the detector.
        sdd_mm: Source to detector, along the detector's normal.
        magnification: Of the middle of the object.
    """

    pixel_mm: tuple[float, float]
    sdd_mm: float
    magnification: float

    def positions(
        self, size: tuple[int, ...]
    ) -> tuple[Float[np.ndarray, "row 1"], Float[np.ndarray, "1 column"]]:
        """Distances from the view's middle, mm at the detector: of rows as a column, of columns as a row."""
        down, right = (
            (np.arange(n, dtype=np.float32) - (n - 1) / 2) * np.float32(pitch)
            for n, pitch in zip(size, self.pixel_mm, strict=True)
        )
        return down[:, None], right[None]


@dataclass(frozen=True)
class FocalSpot:
    """A uniform square focus: edges at the object's middle spread over size * (magnification - 1).

    Args:
        size_mm: Its side.
    """

    size_mm: float = 0.6

    def __call__(self, signal: Image, setup: Setup) -> Image:
        """The signal that this focus casts."""
        spread = self.size_mm * max(setup.magnification - 1, 0.0)
        rows, columns = (box_taps(spread / pitch) for pitch in setup.pixel_mm)
        return filtered(signal, rows, columns)

    @staticmethod
    def sample(rng: np.random.Generator) -> "FocalSpot":
        """A fine or a broad focus."""
        return FocalSpot(float(rng.choice([0.6, 1.0, 1.2])))


@dataclass(frozen=True)
class Heel:
    """Less radiation towards the anode, whose own body is in the way.

    At an angle phi off the axis towards the anode, a photon crosses 1 / sin(anode - phi) times the depth at which it
    arose; beyond the anode's own angle there is nothing:

        exp(-0.02 * (1 / sin(anode - phi) - 1 / sin(anode)))

    The axis is taken to meet the middle of the view.

    Args:
        anode_degrees: Angle of the anode's face to the axis.
        toward_degrees: Where in the image the anode lies: 0 up, 90 right.
    """

    anode_degrees: float = 12.0
    toward_degrees: float = 0.0

    def __call__(self, signal: Image, setup: Setup) -> Image:
        """The signal under this tube."""
        down, right = setup.positions(signal.shape)
        toward = np.radians(self.toward_degrees)
        ahead = np.float32(np.sin(toward)) * right - np.float32(np.cos(toward)) * down
        anode = np.radians(np.float32(self.anode_degrees))
        leaving = np.sin(np.maximum(anode - np.arctan(ahead / np.float32(setup.sdd_mm)), 1e-4))
        return signal * np.exp(-_ANODE_DEPTH * (1 / leaving - 1 / np.sin(anode)))

    @staticmethod
    def sample(rng: np.random.Generator) -> "Heel":
        """A tube along the limb, either way round."""
        toward = rng.choice([0.0, 180.0]) + rng.normal(0, 5)
        return Heel(float(rng.uniform(10, 16)), float(toward))


@dataclass(frozen=True)
class Collimation:
    """Blades of lead around a rectangle, blurred by the focus: it spreads over focus * (sdd - c) / c, c = 300 mm.

    Args:
        size: Height and width as shares of the view's.
        center: Row and column of its middle as shares of the view's, 0 in the view's middle.
        turn_degrees: Of the rectangle, clockwise.
        leakage: What the blades let through.
    """

    size: tuple[float, float] = (0.9, 0.9)
    center: tuple[float, float] = (0.0, 0.0)
    turn_degrees: float = 0.0
    leakage: float = 1e-3

    def __call__(self, signal: Image, setup: Setup, spot: FocalSpot) -> Image:
        """The signal within the blades; an edge is never sharper than a pixel."""
        down, right = setup.positions(signal.shape)
        height, width = (n * p for n, p in zip(signal.shape, setup.pixel_mm, strict=True))
        turn = np.radians(self.turn_degrees)
        sin, cos = np.float32(np.sin(turn)), np.float32(np.cos(turn))
        down = down - np.float32(self.center[0] * height)
        right = right - np.float32(self.center[1] * width)
        penumbra = spot.size_mm * (setup.sdd_mm - COLLIMATOR_MM) / COLLIMATOR_MM
        penumbra = np.float32(max(penumbra, *setup.pixel_mm))
        open_share = np.float32(1.0)
        for place, side in (
            (cos * down - sin * right, self.size[0] * height),
            (sin * down + cos * right, self.size[1] * width),
        ):
            inward = np.float32(side / 2) - np.abs(place)
            open_share = open_share * np.clip(0.5 + inward / penumbra, 0, 1)
        return signal * (np.float32(self.leakage) + np.float32(1 - self.leakage) * open_share)

    @staticmethod
    def sample(rng: np.random.Generator) -> "Collimation":
        """Edges in view or just outside it, each on its own."""
        size, center = rng.uniform(0.7, 1.1, 2), rng.uniform(-0.1, 0.1, 2)
        turn = rng.normal(0, 2)
        return Collimation(
            (float(size[0]), float(size[1])), (float(center[0]), float(center[1])), float(turn)
        )


@dataclass(frozen=True)
class Scatter:
    """Radiation that arrives by detours: primary * ratio * thickness / 100 mm, blurred by a Gaussian.

    The ratio of scatter to primary grows with thickness, and shrinks in narrow fields because the blur reaches beyond
    them. Thickness is water of the same mass.

    Args:
        ratio: Scatter to primary behind 100 mm of water in a wide field, without a grid.
        spread_mm: Standard deviation of the blur at the detector.
    """

    ratio: float = 1.4
    spread_mm: float = 30.0

    def __call__(self, primary: Image, thickness_mm: Image, setup: Setup) -> Image:
        """The scattered signal."""
        born = primary * thickness_mm * np.float32(self.ratio / 100)
        rows, columns = (self.spread_mm / pitch for pitch in setup.pixel_mm)
        return broad_gaussian(born, rows, columns)

    @staticmethod
    def sample(rng: np.random.Generator) -> "Scatter":
        """From a large air gap to a thick limb on the detector."""
        return Scatter(
            float(np.exp(rng.uniform(np.log(0.3), np.log(3)))), float(rng.uniform(15, 45))
        )


@dataclass(frozen=True)
class Grid:
    """Lead strips before the detector, which take scatter away, and some of the primary.

    Args:
        primary: Share of the primary that it lets through.
        selectivity: That share over the share of scatter that it lets through (IEC 60627).
        lines_per_mm: Strips along the columns.
        ripple: Amplitude of their shadows, relative; 0 for a moving grid. Coarse pixels show them as moire.
    """

    primary: float = 0.7
    selectivity: float = 6.0
    lines_per_mm: float = 4.0
    ripple: float = 0.0

    def __call__(self, primary: Image, scatter: Image, setup: Setup) -> Image:
        """Primary and scatter behind the grid, relative to the open beam behind the grid."""
        _, right = setup.positions(primary.shape)
        strips = 1 + self.ripple * np.cos(2 * np.pi * self.lines_per_mm * right)
        return (primary + scatter * np.float32(1 / self.selectivity)) * strips.astype(np.float32)

    @staticmethod
    def sample(rng: np.random.Generator) -> "Grid":
        """Grids of ratio 8 to 12, half of them at rest."""
        rest = rng.random() < 0.5
        return Grid(
            primary=float(rng.uniform(0.6, 0.75)),
            selectivity=float(rng.uniform(4, 10)),
            lines_per_mm=float(rng.uniform(3, 8)),
            ripple=float(rng.uniform(0.0, 0.03)) if rest else 0.0,
        )


@dataclass(frozen=True)
class Noise:
    """Quantum noise: photons arrive by chance, and each counts by its energy.

    Args:
        mas: Charge through the tube; photons per pixel follow from the beam's fluence, the pixel and the distance.
        seed: Of the draw.
    """

    mas: float = 2.5
    seed: int = 0

    def __call__(self, signal: Image, variance: Image, view: int = 0) -> Image:
        """One draw: normal, as Poisson's law is from some twenty photons on, and never below 0.

        Args:
            signal: The mean.
            variance: Of the draw per mAs, relative to the signal; it falls with the charge.
            view: Views of one exposure draw different noise.
        """
        rng = np.random.default_rng([self.seed, view])
        draw = rng.standard_normal(signal.shape, dtype=np.float32)
        return np.maximum(signal + draw * np.sqrt(signal * variance / np.float32(self.mas)), 0)

    @staticmethod
    def sample(rng: np.random.Generator) -> "Noise":
        """From a child's hand at low dose to a generous adult exposure."""
        mas = np.exp(rng.uniform(np.log(0.3), np.log(10)))
        return Noise(float(mas), int(rng.integers(2**31)))


@dataclass(frozen=True)
class Detector:
    """A scintillator of caesium iodide that adds up the energy of what it absorbs, and spreads its light.

    Args:
        csi_mm: Thickness, as solid; layers of needles are packed to about 0.8.
        mtf: Modulation transfer at `at_per_mm`, along rows and columns; 1 for no blur.
        at_per_mm: Spatial frequency, cycles per mm.
    """

    csi_mm: float = 0.4
    mtf: float = 0.6
    at_per_mm: float = 1.0

    def weights(self, beam: Beam) -> Bins:
        """Absorbed energy of the open beam, keV per mm^2, mAs and bin at 1 m."""
        absorbed = -np.expm1(-self.csi_mm * attenuation("csi"))
        return beam.fluence() * energies() * absorbed

    def __call__(self, signal: Image, setup: Setup) -> Image:
        """The signal, and its noise, spread by the scintillator."""
        if self.mtf >= 1:
            return signal
        rows, columns = (exponential_taps(self.mtf, self.at_per_mm * p) for p in setup.pixel_mm)
        return filtered(signal, rows, columns)

    @staticmethod
    def sample(rng: np.random.Generator) -> "Detector":
        """From a sharp thin layer to a soft thick one."""
        sharp = rng.uniform()
        return Detector(csi_mm=float(0.6 - 0.35 * sharp), mtf=float(0.45 + 0.3 * sharp))
