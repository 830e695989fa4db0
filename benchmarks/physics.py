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
    "noise, 0.01 mAs": replace(BARE, noise=Noise(0.01)),
    "scatter": replace(BARE, scatter=Scatter(2.5)),
    "scatter, grid at rest": replace(BARE, scatter=Scatter(2.5), grid=Grid(ripple=0.05)),
    "focus 2 mm (detail)": replace(BARE, spot=FocalSpot(2.0)),
    "detector, 0.3 at 1/mm (detail)": replace(BARE, detector=Detector(mtf=0.3)),
    "nothing else (detail)": BARE,
    "heel, anode up": replace(BARE, heel=Heel(10)),
    "blades": replace(BARE, collimation=Collimation((0.8, 0.55), turn_degrees=4)),
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


def draw(volume: Volume, cameras: Cameras, out: str) -> None:
    """The panels, in bone-bright greys from air to the brightest bone."""
    paths = {
        name: path[0].numpy() for name, path in material_paths(decompose(volume), cameras).items()
    }
    setup = setups(cameras, volume.center)[0]
    figure, axes = plt.subplots(2, 5, figsize=(12.5, 7.0), layout="constrained")
    for axis, (title, exposure) in zip(axes.T.ravel(), PANELS.items(), strict=True):
        lines = exposure(paths, setup)
        if "detail" in title:
            lines = lines[190:270, 155:227]
        axis.imshow(lines, cmap="gray", vmin=-0.15, vmax=2.8)
        axis.set_title(title, fontsize=9)
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
    small = cameras.regrid((256, 256))
    paths = {
        name: path[0].numpy() for name, path in material_paths(decompose(volume), small).items()
    }
    setup = setups(small, volume.center)[0]
    full = Exposure(heel=Heel(), collimation=Collimation(), grid=Grid())
    for name, exposure in {"default": Exposure(), "everything": full}.items():
        for kind in (paths, {name: paths[name] for name in ("water", "bone")}):
            seconds = []
            for _ in range(30):
                start = time.perf_counter()
                exposure(kind, setup)
                seconds.append(time.perf_counter() - start)
            middle = 1000 * np.median(seconds[3:])
            print(
                f"{name}, {len(kind)} materials: {middle:.1f} ms for 256 x 256 (best {1000 * min(seconds):.1f})"
            )


if __name__ == "__main__":
    main()
