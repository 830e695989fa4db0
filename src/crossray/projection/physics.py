"""The physics of a radiograph: from Hounsfield units to what a detector measures; `docs/physics.md` has it in words.

Tube and filters make a spectrum; water, bone and metal take their share of each energy; focus, heel, blades, scatter,
grid, chance and scintillator do the rest, in this order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crossray.errors import InputError
from crossray.geometry import Cameras
from crossray.projection.blur import Image
from crossray.projection.effects import (
    Collimation,
    Detector,
    FocalSpot,
    Grid,
    Heel,
    Noise,
    Scatter,
    Setup,
)
from crossray.projection.materials import material_paths, tissue_paths
from crossray.projection.spectrum import DENSITY, Beam, Bins, attenuation, energies
from crossray.volumes.volume import Volume

FLOOR = 2.0**-16
"""Least signal relative to the open beam: one step of a 16-bit detector."""

BIN_KEV = 2
"""Width of the energy bins that a pixel is summed over."""


@dataclass(frozen=True)
class Exposure:
    """How a radiograph is taken; the defaults are a hand or foot on a digital detector, without a grid.

    Args:
        beam: Voltage and filters.
        spot: The focus; of size 0 for no blur.
        heel: None where the detector was calibrated with it.
        collimation: None for blades out of view.
        scatter: None for a beam without scatter.
        grid: None without.
        noise: None for the mean image.
        detector: What the signal counts, and its blur.
    """

    beam: Beam = field(default_factory=Beam)
    spot: FocalSpot = field(default_factory=FocalSpot)
    heel: Heel | None = None
    collimation: Collimation | None = None
    scatter: Scatter | None = field(default_factory=Scatter)
    grid: Grid | None = None
    noise: Noise | None = field(default_factory=Noise)
    detector: Detector = field(default_factory=Detector)

    def __call__(self, paths: Mapping[str, Image], setup: Setup, view: int = 0) -> Image:
        """Effective line integrals of one view, -log of the signal over that of the open beam.

        Args:
            paths: Length of each material along the rays, mm; see `material_paths`.
            setup: The view's distances.
            view: Its number; views of one exposure draw different noise.
        """
        signal, kev = self.transmitted(paths)
        signal = self.spot(signal, setup)
        if self.heel:
            signal = self.heel(signal, setup)
        if self.collimation:
            signal = self.collimation(signal, setup, self.spot)
        signal = self._scattered(signal, paths, setup)
        if self.noise:
            signal = self.noise(signal, kev / np.float32(self.open_kev(setup)), view)
        signal = self.detector(signal, setup)
        return -np.log(np.maximum(signal, np.float32(FLOOR)))

    def transmitted(self, paths: Mapping[str, Image]) -> tuple[Image, Image]:
        """Primary signal relative to the open beam, and the mean energy in keV by which its absorbed photons count.

        Each absorbed photon adds its energy to the signal and the square of it to the variance, so the variance is the
        signal times this mean energy, which rises where the beam is hardened.
        """
        energy, weights, mu = _bins(self.beam, self.detector, tuple(paths))
        lengths = [np.ascontiguousarray(path, dtype=np.float32) for path in paths.values()]
        signal = np.zeros_like(lengths[0])
        moment = np.zeros_like(signal)
        depth, part = np.empty_like(signal), np.empty_like(signal)
        for kev, weight, coefficients in zip(energy, weights, mu, strict=True):
            np.multiply(lengths[0], -coefficients[0], out=depth)
            for length, coefficient in zip(lengths[1:], coefficients[1:], strict=True):
                depth -= np.multiply(length, coefficient, out=part)
            np.exp(depth, out=depth)
            signal += np.multiply(depth, weight, out=depth)
            moment += np.multiply(depth, kev, out=depth)
        return signal, moment / np.maximum(signal, np.float32(1e-30))

    def open_kev(self, setup: Setup) -> float:
        """Energy in keV per mAs that a pixel absorbs from the open beam, behind the grid if there is one."""
        area = setup.pixel_mm[0] * setup.pixel_mm[1] * (1000 / setup.sdd_mm) ** 2
        through = self.grid.primary if self.grid else 1.0
        return float(self.detector.weights(self.beam).sum()) * area * through

    def _scattered(self, primary: Image, paths: Mapping[str, Image], setup: Setup) -> Image:
        """Primary and scatter, behind the grid if there is one."""
        scatter = np.zeros_like(primary)
        if self.scatter:
            mass = [paths[name] * np.float32(DENSITY[name]) for name in ("water", "bone")]
            scatter = self.scatter(primary, mass[0] + mass[1], setup)
        return self.grid(primary, scatter, setup) if self.grid else primary + scatter


def sample_exposure(rng: np.random.Generator) -> Exposure:
    """Draw an exposure of an extremity: 45 to 75 kVp, with or without grid, heel and blades in view."""
    heel, blades, grid, copper = rng.random(4) < (0.5, 0.5, 0.15, 0.2)
    return Exposure(
        beam=Beam(
            kvp=float(rng.uniform(45, 75)),
            aluminium_mm=float(rng.uniform(2.5, 4)),
            copper_mm=0.1 if copper else 0.0,
        ),
        spot=FocalSpot.sample(rng),
        heel=Heel.sample(rng) if heel else None,
        collimation=Collimation.sample(rng) if blades else None,
        scatter=Scatter.sample(rng),
        grid=Grid.sample(rng) if grid else None,
        noise=Noise.sample(rng),
        detector=Detector.sample(rng),
    )


def expose(
    volume: Volume | Mapping[str, Volume],
    cameras: Cameras,
    exposure: Exposure | Sequence[Exposure] | None = None,
) -> Float[Tensor, "view row column"]:
    """Radiographs of a CT as a detector measures them, before any display processing.

    Args:
        volume: Hounsfield units, what exceeds 3000 HU being solid titanium; or its materials from `decompose`.
        cameras: One or more views.
        exposure: One for all views, or one a view; the default is `Exposure()`.

    Returns:
        Effective line integrals, -log(signal / signal of the open beam), float32: the same bytes for the same input.

    Raises:
        InputError: A source inside the volume, or exposures for another number of views.
    """
    shots = (
        list(exposure)
        if isinstance(exposure, Sequence)
        else [exposure or Exposure()] * len(cameras)
    )
    if len(shots) != len(cameras):
        raise InputError(
            f"{len(shots)} exposures do not fit {len(cameras)} views; give one, or one a view."
        )
    if isinstance(volume, Volume):
        center, paths = volume.center, tissue_paths(volume, cameras)
    else:
        center, paths = volume["water"].center, material_paths(volume, cameras)
    views = [
        shot({name: path[view].numpy() for name, path in paths.items()}, setup, view)
        for view, (shot, setup) in enumerate(zip(shots, setups(cameras, center), strict=True))
    ]
    return torch.from_numpy(np.stack(views))


def setups(cameras: Cameras, point: Float[Tensor, " 3"]) -> list[Setup]:
    """The distances of each view of an object about a world point in mm."""
    normal = torch.linalg.cross(cameras.column_step, cameras.row_step)
    normal = normal / torch.linalg.norm(normal, dim=1, keepdim=True)
    sdd = ((cameras.first_pixel - cameras.source) * normal).sum(1).abs()
    toward = cameras.projection_matrices()[:, 2]  # depth: 0 at the source, 1 at the detector
    depth = toward[:, :3] @ point + toward[:, 3]
    pitches = (torch.linalg.norm(step, dim=1) for step in (cameras.row_step, cameras.column_step))
    rows, columns = (pitch.tolist() for pitch in pitches)
    return [
        Setup((row, column), distance, 1 / share)
        for row, column, distance, share in zip(
            rows, columns, sdd.tolist(), depth.tolist(), strict=True
        )
    ]


@lru_cache
def _bins(
    beam: Beam, detector: Detector, materials: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Energies, shares of the open beam's signal and attenuation (bin, material), float32; empty bins are left out."""
    weights = detector.weights(beam)
    starts = np.arange(0, len(weights), BIN_KEV)
    total = np.add.reduceat(weights, starts)
    kept = total > 1e-7 * total.sum()

    def mean(values: Bins) -> Float[np.ndarray, " wide_bin"]:
        return np.add.reduceat(weights * values, starts)[kept] / total[kept]

    mu = np.stack([mean(attenuation(name)) for name in materials], 1)
    shares = (total[kept] / total.sum()).astype(np.float32)
    return mean(energies()).astype(np.float32), shares, mu.astype(np.float32)
