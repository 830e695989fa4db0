"""Times the projector and the matrices on this machine's CPU, peers in turn in the same run.

    python benchmarks/simulator.py [--json FILE] [--plot PNG] [--quick]

Medians and quartiles of runs after a warm-up. The scene is a knee phantom in a cube of 256 mm, seen by a detector whose
field is 175 mm at the isocentre, 1000 mm from the source; 256 voxels and 256 pixels a side where nothing else is said.
How to install the peers stands in peers.py; those missing are left out. `--quick`: the angles and matrices alone.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numba
import torch
from peers import diffdrr, nanodrr, plastimatch_seconds, rtk

from crossray.correspondence import band, correspondence
from crossray.correspondence.blocks import block_average
from crossray.correspondence.ground_truth import PAPER_BLOCK
from crossray.geometry import Cameras
from crossray.projection import project
from crossray.projection.appearance import render
from crossray.volumes.phantom import phantom
from crossray.volumes.resample import resample
from crossray.volumes.volume import AIR_HU, Volume

RUNS, WARM_UP, SLOW_SECONDS, SLOW_RUNS = 9, 2, 0.3, 3
ANGLES = {"0": (0, 0), "30": (30, 0), "90": (90, 0), "tilted": (40, 25)}
VOLUMES, DETECTORS, VIEWS = (64, 128, 256, 384), (64, 128, 256, 512), (1, 2, 4, 8)
PEERS = {"RTK": rtk, "nanodrr": nanodrr, "DiffDRR": diffdrr}
PACKAGES = ("numba", "torch", "itk-rtk", "nanodrr", "diffdrr")
FIELD_MM = 192.0
"""Of the detector; 175 mm at the isocentre."""
Row = dict[str, float]
Peer = Callable[[Volume, Cameras], Callable[[], object] | None]


def timed(works: dict[str, Callable[[], object] | None]) -> dict[str, Row]:
    """Median and quartiles in seconds of each work, run in turn; a slow one runs less often."""
    seconds: dict[str, list[float]] = {name: [] for name, work in works.items() if work}
    slow: set[str] = set()
    for run in range(WARM_UP + RUNS):
        for name in seconds:
            if name in slow and len(seconds[name]) >= SLOW_RUNS:
                continue
            start = time.perf_counter()
            works[name]()  # type: ignore[misc]
            taken = time.perf_counter() - start
            if run > 0 and taken > SLOW_SECONDS:
                slow.add(name)
            if run >= WARM_UP or name in slow:
                seconds[name].append(taken)
    rows = {}
    for name, kept in seconds.items():
        low, middle, high = statistics.quantiles(kept, n=4)
        rows[name] = {"median": middle, "quartile1": low, "quartile3": high}
    return rows


def knee(side: int = 256) -> Volume:
    """The knee phantom in the middle of a cube of air of 256 mm."""
    limb = resample(phantom("knee", 0), 256 / side)
    values = torch.full((side, side, side), AIR_HU)
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


def orbit(volume: Volume, primary: list[float], secondary: list[float], size: int = 256) -> Cameras:
    """Cameras around the volume."""
    return Cameras.from_angles(
        primary, secondary,
        sod_mm=1000, sdd_mm=1100, size=(size, size), pixel_mm=FIELD_MM / size, isocenter=volume.center,
    )  # fmt: skip


def projectors(mu: Volume, cameras: Cameras, peers: dict[str, Peer] = PEERS) -> dict[str, Row]:
    """Seconds of our projector and the peers' for the same views."""
    works = {name: peer(mu, cameras) for name, peer in peers.items()}
    return timed({"crossray": lambda: project(mu, cameras), **works})


def matrices(volume: Volume) -> dict[str, Row]:
    """Seconds of the matrices of two views, and of what a training sample costs."""
    pair = orbit(volume, [0, 90], [0, 5])
    coarse, patches = block_average(volume, PAPER_BLOCK), pair.regrid((16, 16))
    return timed(
        {
            "exact, between the views": lambda: correspondence(volume, pair, itself=False),
            "exact, with each view itself": lambda: correspondence(volume, pair),
            "paper": lambda: correspondence(volume, pair, definition="paper", itself=False),
            "paper, blocks averaged before": lambda: correspondence(
                coarse, patches, patch=1, itself=False
            ),
            "HU to two radiographs and exact matrix": lambda: (
                render(volume, pair),
                correspondence(volume, pair, itself=False),
            ),
            "band of a pixel": lambda: band(volume, pair, 0, (128, 128)),
        }
    )


def sweeps() -> dict[str, dict[int, dict[str, Row]]]:
    """Seconds against the volume's side, the detector's side, and the number of views."""
    results: dict[str, dict[int, dict[str, Row]]] = {"volume side": {}, "detector side": {}}
    for side in VOLUMES:
        mu = knee(side).attenuation(60)
        results["volume side"][side] = projectors(mu, orbit(mu, [30], [10]))
    mu = knee().attenuation(60)
    for size in DETECTORS:
        results["detector side"][size] = projectors(mu, orbit(mu, [30], [10], size))
    results["views"] = {}
    for views in VIEWS:
        around = [360 * i / views for i in range(views)]
        results["views"][views] = projectors(mu, orbit(mu, around, [10] * views), {"RTK": rtk})
    return results


def plot(results: dict[str, dict[int, dict[str, Row]]], path: Path) -> None:
    """Time against volume, detector and views, one line a projector."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    for axis, (title, rows) in zip(axes, results.items(), strict=True):
        for name in dict.fromkeys(name for row in rows.values() for name in row):
            sides = [side for side, row in rows.items() if name in row]
            seconds = [rows[side][name]["median"] for side in sides]
            axis.loglog(sides, seconds, "o-", label=name, lw=2 if name == "crossray" else 1.2)
        axis.set_xlabel(title)
        axis.set_xticks(list(rows), [str(side) for side in rows])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("seconds")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=110)


def about() -> dict[str, object]:
    """The machine and the versions."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "threads": numba.get_num_threads(),
        "python": platform.python_version(),
        **versions,
    }


def show(title: str, rows: dict[str, Row], unit: float = 1e3) -> None:
    """Print medians and quartiles in milliseconds."""
    print(title)
    for name, row in rows.items():
        low, middle, high = (unit * row[key] for key in ("quartile1", "median", "quartile3"))
        print(f"  {name:40s} {middle:9.2f} ms  ({low:.2f} to {high:.2f})")


def main() -> None:
    """Measure, print, and write the JSON and the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    volume = knee()
    mu = volume.attenuation(60)
    results: dict[str, object] = {"about": about(), "angles": {}}
    for name, (primary, secondary) in ANGLES.items():
        rows = projectors(mu, orbit(volume, [primary], [secondary]))
        results["angles"][name] = rows  # type: ignore[index]
        show(f"one view, {name}", rows)
        if "RTK" in rows:
            print(f"  RTK / crossray {rows['RTK']['median'] / rows['crossray']['median']:.2f}")
    results["matrices"] = rows = matrices(volume)
    show("two views", rows)
    results["plastimatch"] = seconds = plastimatch_seconds(mu, (256, 256), FIELD_MM)
    print(f"plastimatch, one more view: {seconds}")
    if not options.quick:
        results["sweeps"] = swept = sweeps()
        for title, by_side in swept.items():
            for side, rows in by_side.items():
                show(f"{title} {side}", rows)
        if options.plot:
            plot(swept, options.plot)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
