"""Times the projector and the exact matrix on this machine's CPU: medians of runs after a warm-up, as JSON.

    .venv/bin/python benchmarks/simulator.py [--json FILE]

The scene is a knee phantom in 256 x 256 x 256 voxels of 1 mm, seen by 256 x 256 pixels at 1000 mm. Where itk-rtk is
installed (pip install itk-rtk), its Joseph projector runs on the same views in turn with ours.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
import torch

from crossray.correspondence import correspondence
from crossray.geometry import Cameras
from crossray.projection import project
from crossray.projection.appearance import render
from crossray.volumes.phantom import phantom
from crossray.volumes.volume import Volume

RUNS, WARM_UP = 9, 2
ANGLES = {"0": (0, 0), "30": (30, 0), "90": (90, 0), "tilted": (40, 25)}


def timed(*works: Callable[[], object]) -> list[dict[str, float]]:
    """Median and quartiles in seconds of each work, run in turn."""
    seconds: list[list[float]] = [[] for _ in works]
    for run in range(WARM_UP + RUNS):
        for work, kept in zip(works, seconds, strict=True):
            start = time.perf_counter()
            work()
            if run >= WARM_UP:
                kept.append(time.perf_counter() - start)
    rows = []
    for kept in seconds:
        low, _, high = statistics.quantiles(kept, n=4)
        rows.append({"median": statistics.median(kept), "quartile1": low, "quartile3": high})
    return rows


def knee(side: int = 256) -> Volume:
    """The knee phantom in the middle of a cube of air."""
    limb = phantom("knee", 0)
    values = torch.full((side, side, side), -1000.0)
    into, outof, shift = [], [], []
    for n in limb.values.shape:
        start, cut = max(0, (side - n) // 2), max(0, (n - side) // 2)
        into.append(slice(start, start + min(n, side)))
        outof.append(slice(cut, cut + min(n, side)))
        shift.append(cut - start)
    values[tuple(into)] = limb.values[tuple(outof)]
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, 3] = torch.tensor(shift[::-1])
    return Volume(values, limb.world_from_voxel @ affine, "knee phantom")


def rtk_projector(mu: Volume, camera: Cameras) -> Callable[[], object] | None:
    """RTK's Joseph projector for one view of our camera; None where RTK is missing."""
    try:
        import itk
        from itk import RTK as rtk
    except ImportError:
        return None
    image = itk.image_from_array(mu.values.numpy())
    image.SetOrigin(mu.world_from_voxel[:3, 3].tolist())
    geometry = rtk.ThreeDCircularProjectionGeometry.New()
    geometry.AddProjection(
        camera.source[0].tolist(), camera.first_pixel[0].tolist(),
        (camera.column_step[0] / camera.column_step[0].norm()).tolist(),
        (camera.row_step[0] / camera.row_step[0].norm()).tolist(),
    )  # fmt: skip
    spacing = [float(camera.column_step[0].norm()), float(camera.row_step[0].norm()), 1.0]
    blank = np.zeros((1, *camera.size), np.float32)

    def once() -> object:
        stack = itk.image_from_array(blank)
        stack.SetSpacing(spacing)
        kind = itk.Image[itk.F, 3]
        joseph = rtk.JosephForwardProjectionImageFilter[kind, kind].New()
        joseph.SetInput(stack)
        joseph.SetInput(1, image)
        joseph.SetGeometry(geometry)
        joseph.Update()
        return joseph.GetOutput()

    return once


def main() -> None:
    """Measure, print, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    volume = knee()
    mu = volume.attenuation(60)

    def cameras(primary: list[float], secondary: list[float]) -> Cameras:
        return Cameras.from_angles(
            primary,
            secondary,
            sod_mm=1000,
            sdd_mm=1100,
            size=(256, 256),
            pixel_mm=0.75,
            isocenter=volume.center,
        )

    results: dict[str, object] = {}
    for name, (primary, secondary) in ANGLES.items():
        camera = cameras([primary], [secondary])
        peer = rtk_projector(mu, camera)
        rows = timed(lambda c=camera: project(mu, c), *([peer] if peer else []))
        results[f"one view, {name}"] = rows[0]
        if peer:
            results[f"one view, {name}, RTK"] = rows[1]
    pair = cameras([0, 90], [0, 5])
    works = {
        "exact matrix, 2 views": lambda: correspondence(volume, pair),
        "exact matrix between 2 views only": lambda: correspondence(volume, pair, itself=False),
        "paper matrix, 2 views": lambda: correspondence(volume, pair, definition="paper"),
        "HU to 2 radiographs and exact matrix": lambda: (
            render(volume, pair),
            correspondence(volume, pair, itself=False),
        ),
    }
    for name, work in works.items():
        results[name] = timed(work)[0]
    about = {
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": numba.get_num_threads(),
        "python": platform.python_version(),
        "numba": numba.__version__,
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "tissue voxels": int((volume.values > -500).sum()),
    }
    for name, row in results.items():
        print(f"{name:40s} {row['median']:.4f} s")  # type: ignore[index]
    if options.json:
        options.json.write_text(json.dumps({"about": about, "seconds": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
