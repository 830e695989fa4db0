"""Bounds of footprints against the footprints."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossray.correspondence._cpu_bounds import bound_footprints
from crossray.correspondence._cpu_footprints import (
    LANES,
    MIXED,
    make_scene,
    make_work,
    measure_footprints,
)
from crossray.correspondence.ground_truth import _footprint_bounds
from crossray.geometry import Cameras
from crossray.projection.rays import ray_table
from crossray.volumes.volume import Volume

SIDE, PATCH = 12, 8


def thick_scene(rng: np.random.Generator, spacing: tuple[float, float, float]):
    """Slices in a random orientation before two views; voxels are far larger than pixels, or smaller."""
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, :3] = torch.from_numpy(turn * spacing)
    affine[:3, 3] = -affine[:3, :3] @ torch.full((3,), (SIDE - 1) / 2, dtype=torch.float64)
    volume = Volume(torch.rand((SIDE,) * 3, generator=torch.manual_seed(0)), affine)
    angles = rng.uniform(-60, 60, (3, 2)).tolist()
    cameras = Cameras.from_angles(
        primary=angles[0], secondary=angles[1], roll=angles[2],
        sod_mm=400.0, sdd_mm=430.0, size=(48, 64), pixel_mm=0.8, isocenter=volume.center,
    )  # fmt: skip
    return volume, cameras


@given(st.integers(0, 10_000), st.sampled_from([(1.0, 1.0, 3.3), (0.4, 0.6, 0.5), (2.0, 2.0, 5.0)]))
@settings(max_examples=25)
def test_no_bound_lies_below_what_it_bounds(seed: int, spacing: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(seed)
    volume, cameras = thick_scene(rng, spacing)
    rays, matrices = ray_table(volume, cameras), cameras.projection_matrices()
    matrices = matrices @ volume.world_from_voxel
    scene = make_scene(
        (SIDE,) * 3, rays.vectors.numpy(), rays.metric.numpy(), matrices.numpy(),
        _footprint_bounds(matrices, volume).numpy(), (48 // PATCH, 64 // PATCH), PATCH, (True, 1),
    )  # fmt: skip
    sieve, work = make_work(scene), make_work(scene)
    sieve.voxels[:3] = work.voxels[:3] = rng.integers(0, SIDE, (3, LANES))
    bound_footprints(scene, sieve, LANES)
    measure_footprints(scene, work, LANES)
    assert np.array_equal(sieve.places, work.places)
    assert (sieve.maxima >= work.maxima).all()
    inner = ((work.voxels[:3] >= 1) & (work.voxels[:3] < SIDE - 1)).all(0)
    inner &= (work.axes != MIXED).all(0) & (spacing[0] >= 1)
    # They are of use: what they leave of a patch beside the footprint is little.
    beside = (sieve.maxima[:, :, inner] > 0.5) & (work.maxima[:, :, inner] == 0)
    assert beside.sum() <= 0.15 * max(beside.size, 1)
