"""Where the time of a sample goes: its steps, and the exact matrix's parts, beside what limits them.

    python benchmarks/where_time_goes.py [--json FILE]

The scene of simulator.py. The matrix's kernel is run three times on one thread: knowing nothing (as it is used),
knowing the whole result beforehand, and believing that every entry is full already. The last only searches: it reads
the volume, locates every run of voxels and finds that it may be passed over. The second also measures every voxel whose
weight alone does not rule it out, which no order of voxels can avoid. The rest of the first is what is measured before
the entries have grown.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from simulator import FIELD_MM, Row, about, knee, orbit, show, timed

from crossray.correspondence import TissueWeight, correspondence
from crossray.correspondence._cpu import _add_slices, correspondence_kernel
from crossray.correspondence._cpu_footprints import LANES, make_scene, make_work, measure_footprints
from crossray.correspondence.ground_truth import _footprint_bounds
from crossray.geometry import Cameras
from crossray.projection import project
from crossray.projection.appearance import render, sample_appearance
from crossray.projection.rays import ray_table
from crossray.volumes.volume import Volume

PATCH = 16


def steps(volume: Volume, cameras: Cameras) -> dict[str, Row]:
    """Seconds of what turns HU into radiographs and their matrix."""
    mu = volume.attenuation(60)
    lines = project(mu, cameras)
    rng = np.random.default_rng(0)
    looks = [sample_appearance(rng) for _ in range(len(cameras))]
    return timed(
        {
            "all": lambda: (
                render(volume, cameras),
                correspondence(volume, cameras, itself=False),
            ),
            "attenuation": lambda: volume.attenuation(60),
            "its limit: one pass, read and write": lambda: volume.values.clone(),
            "line integrals": lambda: project(mu, cameras),
            "looks": lambda: [look(view) for look, view in zip(looks, lines, strict=True)],
            "exact matrix": lambda: correspondence(volume, cameras, itself=False),
            "its limit: reading the volume": lambda: volume.values.amax(),
            "ray table and bounds": lambda: tables(volume, cameras),
        }
    )


def tables(volume: Volume, cameras: Cameras) -> tuple[np.ndarray, ...]:
    """What the matrix's kernel is given of the cameras: vectors, metric, matrices, half."""
    rays = ray_table(volume, cameras)
    matrices = cameras.projection_matrices() @ volume.world_from_voxel
    half = _footprint_bounds(matrices, volume)
    return rays.vectors.numpy(), rays.metric.numpy(), matrices.numpy(), half.numpy()


def parts(volume: Volume, cameras: Cameras) -> dict[str, Row]:
    """Seconds of the matrix's kernel on one thread, from three states of knowledge, and of measuring footprints."""
    values, logistic = volume.values.numpy(), TissueWeight().logistic()
    given = tables(volume, cameras)
    grid = (cameras.size[0] // PATCH, cameras.size[1] // PATCH)
    rest = (*given, grid, PATCH, (True, 1))
    result = correspondence_kernel(values, logistic, *rest, 1)
    out = np.zeros_like(result)

    def knowing(reached: np.ndarray) -> Callable[[], None]:
        return lambda: _add_slices(out, reached.copy(), 0, 1, values, logistic, *rest)

    return timed(
        {
            "knowing nothing": knowing(np.zeros_like(result)),
            "knowing the result": knowing(result),
            "searching alone": knowing(np.full_like(result, np.inf)),
            "100,000 footprints": footprints(volume, given, grid, 100_000),
        }
    )


def footprints(
    volume: Volume, given: tuple[np.ndarray, ...], grid: tuple[int, int], count: int
) -> Callable[[], None]:
    """Measures so many voxels' footprints in every view."""
    nz, ny, nx = volume.values.shape
    scene = make_scene((nx, ny, nz), *given, grid, PATCH, (True, 1))
    work = make_work(scene)
    z, y, x = np.nonzero(volume.values.numpy() > 0)
    chosen = np.random.default_rng(0).choice(len(x), LANES)
    work.voxels[:3], work.voxels[3] = np.stack([x[chosen], y[chosen], z[chosen]]), 1.0

    def measure() -> None:
        for _ in range(count // LANES):
            measure_footprints(scene, work, LANES)

    return measure


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    volume = knee()
    pair = orbit(volume, [0, 90], [0, 5])
    tissue = int((volume.values > TissueWeight().air_hu).sum())
    print(f"{tissue:,} voxels of tissue of {volume.values.numel():,}; field {FIELD_MM} mm.")
    result = {"about": about(), "tissue_voxels": tissue, "steps": steps(volume, pair)}
    show("Steps of a sample", result["steps"])
    torch.set_num_threads(1)
    result["parts"] = parts(volume, pair)
    show("The exact matrix, one thread", result["parts"])
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
