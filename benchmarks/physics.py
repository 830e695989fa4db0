"""Draws docs/images/physics.png, one limb under each effect, and times an exposure without its projections.

.venv/bin/python benchmarks/physics.py [--out docs/images/physics.png]
"""

import argparse
import time
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch

from crossray.geometry import Cameras
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
from crossray.projection.materials import decompose, material_paths
from crossray.projection.physics import Exposure, setups
from crossray.projection.spectrum import Beam
from crossray.volumes.phantom import phantom
from crossray.volumes.volume import Volume

BARE = Exposure(spot=FocalSpot(0.0), scatter=None, noise=None, detector=Detector(mtf=1.0))
PANELS = {
    "55 kVp, nothing else": BARE,
    "100 kVp, 0.2 mm copper": replace(BARE, beam=Beam(100, 2.5, 0.2)),
    "scatter": replace(BARE, scatter=Scatter(2.5)),
    "scatter, grid": replace(BARE, scatter=Scatter(2.5), grid=Grid()),
    "heel, anode up": replace(BARE, heel=Heel(10)),
    "blades": replace(BARE, collimation=Collimation((0.8, 0.55), turn_degrees=4)),
    "detail, nothing else": BARE,
    "detail, focus 1.2 mm": replace(BARE, spot=FocalSpot(1.2)),
    "detail, detector 0.3 at 1/mm": replace(BARE, detector=Detector(mtf=0.3)),
    "detail, noise of 0.2 mAs": replace(BARE, noise=Noise(0.2)),
}


def pinned(spacing_mm: float = 0.5) -> Volume:
    """A hand with a K-wire of 1.6 mm across a metacarpal."""
    volume = phantom("hand", 1, spacing_mm)
    values = volume.values.clone()
    z, y, x = torch.meshgrid(*(torch.arange(n) for n in values.shape), indexing="ij")
    top = [n // 2 for n in values.shape]
    wire = (z - top[0]).abs() * spacing_mm < 0.8
    wire &= (y - top[1]).abs() * spacing_mm < 0.8
    values[wire & ((x - top[2]).abs() * spacing_mm < 22)] = 3071
    return replace(volume, values=values)


def one_view(volume: Volume, cameras: Cameras) -> tuple[dict[str, np.ndarray], Setup]:
    """What an exposure needs of the first view."""
    paths = material_paths(decompose(volume), cameras)
    return {name: path[0].numpy() for name, path in paths.items()}, setups(cameras, volume.center)[
        0
    ]


def draw(volume: Volume, cameras: Cameras, out: str) -> None:
    """The panels, in bone-bright greys of one scale."""
    whole = one_view(volume, cameras)
    detail = one_view(volume, cameras.crop(200, 150, (60, 54)).regrid((600, 540)))
    figure, axes = plt.subplots(2, 5, figsize=(12.5, 6.1), layout="constrained")
    for axis, (title, exposure) in zip(axes.ravel(), PANELS.items(), strict=True):
        lines = exposure(*(detail if "detail" in title else whole))
        axis.imshow(lines, cmap="gray", vmin=-0.3, vmax=2.5)
        axis.set_title(title, fontsize=10)
        axis.axis("off")
    figure.savefig(out, dpi=72)


def main() -> None:
    """Draw and time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default="docs/images/physics.png")
    options = parser.parse_args()
    volume = pinned()
    size, pixel = (420, 378), 0.5
    cameras = Cameras.from_angles(
        0, 0, 0, sod_mm=950, sdd_mm=1100, size=size, pixel_mm=pixel, isocenter=volume.center
    )
    draw(volume, cameras, options.out)
    paths, setup = one_view(volume, cameras.regrid((256, 256)))
    full = Exposure(heel=Heel(), collimation=Collimation(), grid=Grid())
    for name, exposure in {"default": Exposure(), "everything": full}.items():
        seconds = []
        for _ in range(40):
            start = time.perf_counter()
            exposure(paths, setup)
            seconds.append(time.perf_counter() - start)
        low, middle, _ = 1000 * np.quantile(seconds[3:], [0.25, 0.5, 0.75])
        print(
            f"{name}, {len(paths)} materials, 256 x 256: median {middle:.1f} ms, quartile {low:.1f}"
        )


if __name__ == "__main__":
    main()
