"""Times the projector, the exact matrix and training batches on an NVIDIA GPU, against nanodrr's fused Triton kernel.

    pip install torch numpy jaxtyping numba 'numba-cuda[cu13]' nanodrr
    python benchmarks/gpu.py [--json FILE]

torch must be a CUDA build (for one of CUDA 12: numba-cuda[cu12]); nanodrr may be missing, then its rows say absent.
Nothing else is needed: crossray is taken from this checkout.

The scene is a limb in a cube of 256 mm, 256 or 512 voxels a side, seen from an orbit at 1000 mm. A measurement is the
wall clock of back-to-back calls, the device synchronised before and after, over their number: medians and quartiles of
runs after a warm-up, peers in turn. Cameras are made beforehand; all else that a pose costs counts.

Sampling is equal: nanodrr takes as many samples along a ray as the volume has voxels a side, ours one a slab. Its
samples are trilinear (8 voxels), ours bilinear within a slab (4 voxels): that is Joseph's method. Two models of bytes:
`compulsory` reads the volume once a view and writes the image, `gathered` reads 16 bytes a slab and ray; both are given
as shares of the bandwidth of a device copy in the same run. A share of `gathered` over 1 is the caches' work.
"""

import argparse
import json
import math
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from peers import nanodrr

from crossray.correspondence import correspondence
from crossray.geometry import Cameras
from crossray.projection import project
from crossray.volumes.volume import Volume

DEVICE, PEER = "cuda", "triton"
RUNS, WARM_UP, RUN_SECONDS = 15, 3, 0.03
SIDES, DETECTORS, VIEWS, BATCH = (256, 512), (200, 256), (1, 8, 64), 16
ANGLES = {"AP": (0, 0), "oblique": (30, 0), "lateral": (90, 0), "cranial": (0, 90)}
PACKAGES = ("torch", "numpy", "numba", "numba-cuda", "nanodrr", "triton")
Work = Callable[[], object]


def timed(*works: Work | None) -> list[dict[str, float] | None]:
    """Median and quartiles of a call's seconds for each work, run in turn; None for none."""
    seconds: list[list[float]] = [[] for _ in works]
    calls = [1 for _ in works]
    for run in range(WARM_UP + RUNS):
        for i, work in enumerate(works):
            if work is None:
                continue
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(calls[i]):
                work()
            torch.cuda.synchronize()
            taken = (time.perf_counter() - start) / calls[i]
            if run >= WARM_UP:
                seconds[i].append(taken)
            calls[i] = max(1, math.ceil(RUN_SECONDS / taken))
    rows: list[dict[str, float] | None] = []
    for kept in seconds:
        low, middle, high = statistics.quantiles(kept, n=4) if kept else (0.0, 0.0, 0.0)
        rows.append({"median": middle, "quartile1": low, "quartile3": high} if kept else None)
    return rows


def limb(side: int) -> Volume:
    """A lower leg in HU, in a cube of 256 mm: two bones of shell and sponge, muscle, a rim of fat, and fine texture."""
    at = (torch.arange(side, device=DEVICE) - (side - 1) / 2) * (256 / side)
    z, y, x = at[:, None, None], at[:, None], at
    lattice = torch.randn((1, 1, 86, 86, 86), generator=torch.Generator().manual_seed(0))
    texture = torch.nn.functional.interpolate(lattice.to(DEVICE), (side,) * 3, mode="trilinear")[
        0, 0
    ]
    skin = 50 + 0.08 * z - (x**2 + (y / 1.15) ** 2).sqrt()
    values = torch.where(skin > 6, 55 + 12 * texture, -100 + 12 * texture)
    for middle, radius in ((-8.0, 15.0), (24.0, 7.0)):
        depth = radius + 0.0006 * z**2 - ((x - middle) ** 2 + (y + 0.5 * middle) ** 2).sqrt()
        bone = torch.where(depth > 3, 250 + 120 * texture, torch.tensor(1400.0, device=DEVICE))
        values = torch.where(depth > 0, bone, values)
    values = torch.where((skin > 0) & (z.abs() < 110), values, -1000.0)
    affine = torch.diag(torch.tensor([256 / side] * 3 + [1.0]))
    return Volume(values, affine, f"limb of {side} voxels")


def orbit(volume: Volume, views: int, size: int) -> Cameras:
    """Views around the limb, tilted a little."""
    angles = [360 * i / views for i in range(views)]
    return seen(volume, angles, [10 * math.sin(math.radians(a)) for a in angles], size)


def seen(volume: Volume, primary: list[float], secondary: list[float], size: int) -> Cameras:
    """Cameras that see the cube from the given directions."""
    return Cameras.from_angles(
        primary, secondary,
        sod_mm=1000, sdd_mm=1100, size=(size, size), pixel_mm=280 / size, isocenter=volume.center,
    )  # fmt: skip


def bandwidth() -> float:
    """Bytes a second that a copy on the device reads and writes."""
    source = torch.empty(1 << 28, device=DEVICE)
    target = torch.empty_like(source)
    row = timed(lambda: target.copy_(source))[0]
    return 2 * source.numel() * 4 / row["median"]


def projector(mu: Volume, cameras: Cameras, copied: float) -> dict[str, object]:
    """One row: our projector and nanodrr's."""
    peer = nanodrr(mu, cameras, DEVICE, PEER)
    ours, theirs = timed(lambda: project(mu, cameras), peer)
    views, side, rays = len(cameras), mu.values.shape[0], cameras.size[0] * cameras.size[1]
    row: dict[str, object] = {
        "seconds": ours,
        "views_per_second": views / ours["median"],
        "compulsory_share": 4 * views * (side**3 + rays) / ours["median"] / copied,
        "gathered_share": 16 * views * rays * side / ours["median"] / copied,
        "nanodrr": theirs or "absent",
    }
    if theirs:
        lines = project(mu, cameras)
        row["nanodrr_views_per_second"] = views / theirs["median"]
        row["times_nanodrr"] = theirs["median"] / ours["median"]
        row["difference_to_nanodrr"] = float((lines - peer()).abs().mean() / lines.max())
    return row


def projections(volumes: dict[int, Volume], copied: float) -> dict[str, object]:
    """Rows of the projector: sides, detectors and numbers of views, and single directions."""
    rows: dict[str, object] = {}
    for side, hu in volumes.items():
        mu = hu.attenuation()
        for size in DETECTORS:
            for views in VIEWS:
                name = f"{side}^3, {size} x {size}, {views} views"
                rows[name] = projector(mu, orbit(mu, views, size), copied)
        for name, (primary, secondary) in ANGLES.items():
            cameras = seen(mu, [primary] * 8, [secondary] * 8, 256)
            rows[f"{side}^3, 256 x 256, 8 x {name}"] = projector(mu, cameras, copied)
    return rows


def matrices(volumes: dict[int, Volume]) -> dict[str, object]:
    """Rows of the matrix, 256 x 256 pixels, 16 x 16 patches."""
    rows: dict[str, object] = {}
    for side, hu in volumes.items():
        pair, three = seen(hu, [0, 90], [0, 5], 256), seen(hu, [0, 45, 90], [0, 0, 5], 256)
        works = {
            "2 views": lambda hu=hu, c=pair: correspondence(hu, c),
            "between 2 views only": lambda hu=hu, c=pair: correspondence(hu, c, itself=False),
            "3 views": lambda hu=hu, c=three: correspondence(hu, c),
            "paper's definition, 2 views": lambda hu=hu, c=pair: correspondence(
                hu, c, definition="paper"
            ),
        }
        for name, work in works.items():
            rows[f"{side}^3, {name}"] = {"seconds": timed(work)[0]}
    return rows


def batches(hu: Volume) -> dict[str, object]:
    """Rows of training batches: line integrals of 2 views and the matrix between them, from HU on the device."""
    people = [Volume(hu.values + i, hu.world_from_voxel) for i in range(BATCH)]
    pairs = [seen(hu, [7.0 * i, 7.0 * i + 80], [0.0, 5.0], 256) for i in range(BATCH)]
    mu, every = hu.attenuation(), Cameras.stack(pairs)

    def many_volumes() -> None:
        for volume, pair in zip(people, pairs, strict=True):
            project(volume.attenuation(), pair)
            correspondence(volume, pair, itself=False)

    def one_volume() -> None:
        project(mu, every)
        for pair in pairs:
            correspondence(hu, pair, itself=False)

    rows: dict[str, object] = {}
    for name, work in {"16 volumes": many_volumes, "1 volume, 16 pairs": one_volume}.items():
        row = timed(work)[0]
        rows[name] = {
            "seconds": row,
            "pairs_per_second": BATCH / row["median"],
            "minutes_for_207600_pairs": 207_600 / BATCH * row["median"] / 60,
        }
    return rows


def parity(hu: Volume) -> dict[str, float]:
    """Largest differences to the CPU's kernels, as shares of the maximum; and what the first calls cost."""
    cameras, cpu = seen(hu, [0, 90], [0, 5], 256), hu.to("cpu")
    found: dict[str, float] = {}
    for name, work in {
        "project": lambda volume: project(volume.attenuation(), cameras),
        "correspondence": lambda volume: correspondence(volume, cameras),
    }.items():
        start = time.perf_counter()
        ours = work(hu).cpu()
        found[f"{name}, seconds of the first call"] = time.perf_counter() - start
        expected = work(cpu)
        found[f"{name}, difference to the CPU"] = float(
            (ours - expected).abs().max() / expected.max()
        )
    return found


def about() -> dict[str, object]:
    """The machine and the versions."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
    device = torch.cuda.get_device_properties(0)
    return {
        "gpu": device.name,
        "memory_bytes": device.total_memory,
        "driver": driver[0],
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "versions": versions,
        "date": time.strftime("%Y-%m-%d"),
    }


def show(name: str, row: dict[str, object]) -> None:
    """One line: milliseconds and quartiles, then whatever else the row holds."""
    seconds = row["seconds"]
    text = " ".join(f"{key} {value:.4g}" for key, value in row.items() if isinstance(value, float))
    low, middle, high = (1e3 * seconds[key] for key in ("quartile1", "median", "quartile3"))
    absent = "" if row.get("nanodrr") != "absent" else " nanodrr absent"
    print(f"{name:36s} {middle:9.3f} ms ({low:.3f} to {high:.3f}) {text}{absent}", flush=True)


def main() -> None:
    """Measure, print, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit(
            "benchmarks/gpu.py needs an NVIDIA GPU and a CUDA build of torch; torch sees none here."
        )
    volumes = {side: limb(side) for side in SIDES}
    results: dict[str, object] = {"about": about(), "parity": parity(volumes[SIDES[0]])}
    print(json.dumps(results, indent=1), flush=True)
    copied = bandwidth()
    results["copy_bytes_per_second"] = copied
    for name, rows in {
        "projector": lambda: projections(volumes, copied),
        "matrix": lambda: matrices(volumes),
        "batch": lambda: batches(volumes[SIDES[0]]),
    }.items():
        results[name] = rows()
        for row_name, row in results[name].items():
            show(row_name, row)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
