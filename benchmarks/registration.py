"""Registers a CT to radiographs by gradient descent over the patient's pose: errors and times over random starts.

    .venv/bin/python benchmarks/registration.py [--ct FILE] [--views 2] [--starts 12] [--json FILE] [--picture FILE]

docs/registration.md explains it. Without a CT the knee phantom is the patient. The radiographs are rendered from the
full volume with drawn exposure, scatter, noise and blur; the registration knows none of that and sees the CT on
coarser grids.
"""

import argparse
import json
import math
import platform
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numba
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crossray.geometry import Cameras, rigid_motion
from crossray.projection import project
from crossray.projection.appearance import render
from crossray.volumes.io import read_ct
from crossray.volumes.phantom import phantom
from crossray.volumes.resample import resample
from crossray.volumes.volume import Volume

AWAY_DEG, AWAY_MM = 10.0, 20.0


class Level(NamedTuple):
    """One scale of the search."""

    pixels: int
    voxel_mm: float
    steps: int
    pace: float  # of the first step, in degrees and mm


LEVELS = (Level(32, 4.0, 80, 2.0), Level(64, 3.0, 60, 0.5), Level(128, 1.5, 40, 0.1))


def pose_motion(pose: Float[Tensor, " 6"], center: Float[Tensor, " 3"]) -> Float[Tensor, "4 4"]:
    """The patient's motion: a rotation vector in degrees about the volume's centre, then a shift in mm."""
    return rigid_motion(pose[:3], pose[3:], center)


def seen(cameras: Cameras, motion: Float[Tensor, "4 4"]) -> Cameras:
    """The cameras as the moved patient sees them: moving the patient is moving the cameras the other way."""
    return cameras.moved(torch.linalg.inv(motion))


def correlation(a: Float[Tensor, "view *pixels"], b: Float[Tensor, "view *pixels"]) -> Tensor:
    """Normalised cross-correlation, the mean over views: 1 where the images differ by contrast and brightness only."""
    a, b = (x.flatten(1) - x.flatten(1).mean(1, keepdim=True) for x in (a, b))
    return ((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-9)).mean()


def similarity(
    a: Float[Tensor, "view row column"], b: Float[Tensor, "view row column"]
) -> Float[Tensor, ""]:
    """Mean correlation of the images and of their slopes along rows and columns, in [-1, 1]."""
    slopes = [correlation(a.diff(dim=dim), b.diff(dim=dim)) for dim in (1, 2)]
    return (correlation(a, b) + slopes[0] + slopes[1]) / 3


def shrunk(
    images: Float[Tensor, "view row column"], pixels: int
) -> Float[Tensor, "view row column"]:
    """Images of fewer pixels, each the mean of those it covers."""
    return torch.nn.functional.adaptive_avg_pool2d(images, pixels)


def register(
    volume: Volume, cameras: Cameras, images: Float[Tensor, "view row column"]
) -> tuple[Float[Tensor, "4 4"], float]:
    """The motion of the patient that makes the CT project like the radiographs, and the similarity reached.

    Args:
        volume: Hounsfield units.
        cameras: Of the radiographs, where they stand.
        images: Bone bright.
    """
    pose = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    for level in LEVELS:
        mu = resample(volume, level.voxel_mm).attenuation()
        target, coarse = shrunk(images, level.pixels), cameras.regrid((level.pixels,) * 2)
        descent = torch.optim.Adam([pose], lr=level.pace)
        slowing = torch.optim.lr_scheduler.ExponentialLR(descent, 0.1 ** (1 / level.steps))
        for _ in range(level.steps):
            descent.zero_grad()
            lines = project(mu, seen(coarse, pose_motion(pose, volume.center)))
            alike = similarity(lines, target)
            (-alike).backward()
            descent.step()
            slowing.step()
    return pose_motion(pose.detach(), volume.center), alike.item()


class Errors(NamedTuple):
    """Of a found motion against the true one."""

    rotation_deg: float
    translation_mm: float
    in_plane_mm: float


def errors(
    found: Float[Tensor, "4 4"],
    true: Float[Tensor, "4 4"],
    center: Float[Tensor, " 3"],
    cameras: Cameras,
) -> Errors:
    """Angle between the rotations, and distance of where they put the centre; of that, the part that view 0 sees."""
    apart = found[:3, :3] @ true[:3, :3].T
    sine = (apart - apart.T).norm() / math.sqrt(8)
    angle = math.degrees(math.atan2(float(sine), float(apart.trace() - 1) / 2))
    shift = (found - true)[:3, :3] @ center + (found - true)[:3, 3]
    beam = torch.linalg.cross(cameras.column_step[0], cameras.row_step[0])
    along = float(shift @ beam / beam.norm())
    return Errors(angle, float(shift.norm()), math.sqrt(max(0.0, float(shift @ shift) - along**2)))


def random_pose(rng: np.random.Generator) -> Float[Tensor, " 6"]:
    """A turn of AWAY_DEG about any axis and a shift of AWAY_MM in any direction."""
    turn, shift = rng.normal(size=(2, 3))
    turn, shift = turn / np.linalg.norm(turn) * AWAY_DEG, shift / np.linalg.norm(shift) * AWAY_MM
    return torch.from_numpy(np.concatenate([turn, shift]))


def overlay(
    radiograph: Float[Tensor, "row column"], projected: Float[Tensor, "row column"]
) -> Float[Tensor, "row column 3"]:
    """The radiograph in orange under the projected CT in blue: grey where they agree."""
    return torch.stack([radiograph, (radiograph + projected) / 2, projected], -1)


def draw(
    path: Path, volume: Volume, cameras: Cameras, images: Tensor, found: Float[Tensor, "4 4"]
) -> None:
    """Radiographs, and the CT over them before and after."""
    before = render(volume, cameras, seed=None)
    after = render(volume, seen(cameras, found), seed=None)
    figure, axes = plt.subplots(
        len(cameras), 3, figsize=(7.2, 2.4 * len(cameras)), squeeze=False, layout="constrained"
    )
    for row, image, *projected in zip(axes, images, before, after, strict=True):
        row[0].imshow(image, cmap="gray")
        for place, other in zip(row[1:], projected, strict=True):
            place.imshow(overlay(image, other))
    for place, title in zip(axes[0], ("radiograph", "CT before", "CT after"), strict=True):
        place.set_title(title, fontsize=9)
    for place in axes.flat:
        place.axis("off")
    figure.savefig(path, dpi=90)
    plt.close(figure)


def summary(rows: list[dict[str, float]]) -> dict[str, object]:
    """Medians and worst, and how many starts came within 1 degree and 1 mm across the beam of view 0."""
    measures = ("rotation_deg", "translation_mm", "in_plane_mm", "seconds")
    close = sum(row["rotation_deg"] < 1 and row["in_plane_mm"] < 1 for row in rows)
    return {
        "starts": len(rows),
        "converged": close,
        "median": {name: statistics.median(row[name] for row in rows) for name in measures},
        "worst": {name: max(row[name] for row in rows) for name in measures},
        "machine": f"{platform.machine()}, {numba.get_num_threads()} threads, torch {torch.__version__}",
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ct", type=Path)
    parser.add_argument("--views", type=int, choices=(1, 2), default=2)
    parser.add_argument("--starts", type=int, default=12)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    volume = read_ct(options.ct) if options.ct else phantom("knee", 0)
    cameras = Cameras.from_angles(
        [0, 90][: options.views], 0, sod_mm=1000, sdd_mm=1150, size=(256, 256), pixel_mm=0.9, isocenter=volume.center,
    )  # fmt: skip
    rows = []
    for start in range(options.starts):
        true = pose_motion(random_pose(np.random.default_rng(start)), volume.center)
        images = render(volume, seen(cameras, true), seed=start)
        begin = time.perf_counter()
        motion, alike = register(volume, cameras, images)
        seconds = time.perf_counter() - begin
        apart = errors(motion, true, volume.center, cameras)
        rows.append({"start": start, **apart._asdict(), "similarity": alike, "seconds": seconds})
        print(json.dumps(rows[-1]), flush=True)
        if options.picture and start == 0:
            draw(options.picture, volume, cameras, images, motion)
    result = summary(rows)
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps({**result, "each": rows}, indent=2))


if __name__ == "__main__":
    main()
